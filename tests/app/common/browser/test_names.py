"""Names that visitors choose are text, on every page of every other visitor."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from progress.backend.connection import ProgressConnection
from progress.operation import new_operation_id
from tests.browser.conftest import Viewer, start_and_wait
from tests.conftest import wait_for_end

Visit = Callable[..., Viewer]

NAME = (
    "https://evil.example www.evil.example ada@evil.example :material_home: :material/home:"
    " :streamlit: :smile: **a** a -> b <b>c</b>\n\n    code \u202eend"
)
SHOWN = (
    "https://evil.example www.evil.example ada@evil.example :material_home: :material/home:"
    " :streamlit: :smile: **a** a -> b <b>c</b> code end"
)


def expect_text(viewer: Viewer, count: int = 1) -> None:
    """Wait until the page shows the name as text, and nothing that Markdown made of it."""
    shown = "text => document.body.innerText.replaceAll('\u2060', '').split(text).length > COUNT"
    viewer.page.wait_for_function(shown.replace("COUNT", str(count)), arg=SHOWN)
    expect(viewer.page.locator("a[href*='evil']")).to_have_count(0)
    expect(
        viewer.page.locator("[data-testid='stMarkdownContainer'] :is(pre,strong,b)")
    ).to_have_count(0)
    assert "\u202e" not in viewer.page.inner_text("body")


@pytest.fixture(scope="module")
def running(connection: ProgressConnection) -> str:
    return start_and_wait(connection, "endless", NAME)


def test_a_name_is_text_everywhere(
    visit: Visit, connection: ProgressConnection, running: str
) -> None:
    ended = new_operation_id()
    connection.start(ended, "succeed", NAME, "")
    wait_for_end(connection, ended)
    viewer = visit(f"/?operation={running}&operation={ended}")
    viewer.see("Completed")
    expect_text(viewer, 2)
    viewer.page.get_by_role("link", name="Board").click()
    viewer.see("In progress")
    expect_text(viewer)
    connection.cancel(running)
    expect(viewer.page.get_by_test_id("stToast")).to_be_visible()
    expect_text(viewer)
