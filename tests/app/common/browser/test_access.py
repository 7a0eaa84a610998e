"""Accessibility: contrast, headings, names (axe), keyboard focus, double clicks, shifts."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from progress.backend.connection import ProgressConnection
from progress.operation import new_operation_id
from tests.browser.app.axe import expect_accessible
from tests.browser.app.places import place_at_rest
from tests.browser.conftest import (
    Server,
    Viewer,
    copy_project,
    free_port,
    operation_in,
    start_and_wait,
)
from tests.conftest import wait_for_end

Visit = Callable[..., Viewer]

SHIFTS = """
window.shifts = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) {
    // Streamlit draws a narrow skeleton before a wide page: nothing of the app moves then.
    const moved = entry.sources.map(source => source.node?.dataset?.testid);
    if (!moved.includes("stMainBlockContainer")) window.shifts.push(entry.value);
  }
}).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture
def cancelled(connection: ProgressConnection) -> Iterator[list[str]]:
    """The ids of operations that a test leaves running; they are cancelled at its end."""
    ids: list[str] = []
    yield ids
    for operation_id in ids:
        connection.cancel(operation_id)
    for operation_id in ids:
        wait_for_end(connection, operation_id)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(
    visit: Visit, server: Server, connection: ProgressConnection, scheme: str
) -> None:
    viewer = visit()
    page = viewer.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(server.url)
    viewer.wait_until_startable()
    expect_accessible(viewer)
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    expect_accessible(viewer)
    page.get_by_role("link", name="Board").click()
    viewer.see("Endless: slow")
    viewer.see("Select a row")
    expect_accessible(viewer)
    page.get_by_role("link", name="Live feed").click()
    viewer.see("Latest row")
    expect_accessible(viewer)
    page.get_by_role("link", name="Run").click()
    page.click(".st-key-cancel button")
    viewer.see("Cancelled after")
    expect_accessible(viewer)
    for job, text in {"succeed": "All well", "partial": "Partly", "fail": "Failed after"}.items():
        viewer.start(job)
        viewer.see(text)
        expect_accessible(viewer)
    assert [url for url in requests if not url.startswith((server.url, "data:", "blob:"))] == []


# What Streamlit's own loading costs is left out. The rest was measured at 0.003 or less.
LIMIT = 0.02


@pytest.mark.parametrize("path", ["/", "/board", "/feed"])
def test_nothing_jumps_while_a_page_loads(
    visit: Visit, server: Server, connection: ProgressConnection, path: str
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "fast", "")
    wait_for_end(connection, operation_id)  # for the table of the board
    page = visit(at=server).page
    page.add_init_script(SHIFTS)
    shifts = []
    for _ in range(10):  # on a busy machine a page may arrive in two parts: the smallest one counts
        page.goto(server.url + path)
        expect(page.locator("h1")).to_be_visible()
        page.wait_for_timeout(2500)
        shifts.append(sum(page.evaluate("window.shifts")))
        if shifts[-1] < LIMIT:
            break
    assert min(shifts) < LIMIT, shifts


def focused(page: Page) -> str:
    """Return the key of the widget that has the keyboard focus."""
    return str(
        page.evaluate(
            "document.activeElement.closest('[class*=st-key-]')?.className"
            ".match(/st-key-([a-z]+)/)[1] ?? document.activeElement.tagName"
        )
    )


def test_the_focus_stays_on_the_page_and_its_tab_tells_the_progress(visit: Visit) -> None:
    viewer = visit()
    viewer.choose("job", "endless")
    viewer.choose("subject", "slow")
    page = viewer.page
    page.focus(".st-key-start button")
    page.keyboard.press("Enter")
    viewer.see("steps so far")
    assert focused(page) == "start"
    expect(page).to_have_title(re.compile("^In progress · "))
    page.focus(".st-key-cancel button")
    page.keyboard.press("Enter")
    viewer.see("Cancelled after")  # how long it says "Cancelling" before is up to the machine
    expect(page).to_have_title(re.compile("^Cancelled · "))
    viewer.wait_for(lambda: focused(page) == "start")
    viewer.expect_no_polling()


def test_the_tab_tells_a_percentage(visit: Visit) -> None:
    viewer = visit()
    viewer.start("rows", "slow")
    expect(viewer.page).to_have_title(re.compile(r"^\d\d % · "))
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelled after")
    viewer.start("succeed")
    expect(viewer.page).to_have_title(re.compile(r"^Completed · "))


@pytest.fixture(scope="module")
def patient_server(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app in which a double click may take longer: a busy machine draws late between both."""
    project = copy_project(tmp_path_factory.mktemp("patient"))
    module = project / "progress" / "session" / "tracking.py"
    text = module.read_text("utf-8")
    assert "DOUBLE_CLICK = 0.6" in text
    module.write_text(text.replace("DOUBLE_CLICK = 0.6", "DOUBLE_CLICK = 6.0"), "utf-8")
    app = Server(environment, free_port(), project)
    app.start()
    yield app
    app.stop()


def click_twice(viewer: Viewer, button: str, moving: Locator) -> None:
    """Click where the first button is, again when another one has moved there, and expect that
    of three elements two are left.
    """
    viewer.wait_until_startable()
    box = place_at_rest(viewer, viewer.page.locator(button).first)
    for _ in range(2):
        viewer.wait_for(lambda: viewer.page.locator(button).first.bounding_box() == box)
        viewer.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(moving).to_have_count(2)
    viewer.frames_in(1)
    expect(moving).to_have_count(2)


def test_a_double_click_dismisses_one_outcome(
    visit: Visit, connection: ProgressConnection, patient_server: Server
) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "succeed", "fast", "")
        wait_for_end(connection, operation_id)
    query = "&".join(f"operation={operation_id}" for operation_id in ids)
    viewer = visit(f"/?{query}", at=patient_server)
    outcomes = viewer.page.locator("[class*=st-key-outcome-]")
    expect(outcomes).to_have_count(3)
    dismiss = "[class*=st-key-dismiss] button:visible"  # in the outcome that is open
    viewer.page.locator(dismiss).first.scroll_into_view_if_needed()
    click_twice(viewer, dismiss, outcomes)


def test_a_double_click_stops_tracking_one_operation(
    visit: Visit, connection: ProgressConnection, cancelled: list[str], patient_server: Server
) -> None:
    ids = [start_and_wait(connection, "endless") for _ in range(3)]
    cancelled += ids
    query = "&".join(f"operation={operation_id}" for operation_id in ids)
    viewer = visit(f"/?{query}", at=patient_server)
    running = viewer.page.get_by_text("steps so far")
    expect(running).to_have_count(3)
    click_twice(viewer, "[class*=st-key-untrack] button", running)


def test_a_fresh_tab_offers_to_follow_what_runs(
    visit: Visit, connection: ProgressConnection, cancelled: list[str]
) -> None:
    ids = [start_and_wait(connection, "endless") for _ in range(2)]
    cancelled += ids
    viewer = visit()
    viewer.choose("job", "endless")
    viewer.choose("subject", "slow")
    viewer.see("Already running for this subject: track it below")
    expect(viewer.page.locator(f".st-key-track-{ids[1]}")).to_be_visible()
    expect_accessible(viewer)
    viewer.expect_no_polling()
    viewer.page.click(f".st-key-track-{ids[0]} button")
    viewer.see("steps so far")
    assert operation_in(viewer) == ids[0]
    expect(viewer.page.locator(f".st-key-track-{ids[0]}")).to_have_count(0)


def test_the_keyboard_opens_a_row_of_the_board(
    visit: Visit, connection: ProgressConnection
) -> None:
    ids = [new_operation_id() for _ in range(2)]
    for operation_id in ids:
        connection.start(operation_id, "succeed", "fast", "")
        wait_for_end(connection, operation_id)
    board = visit("/board")
    expect(board.page.get_by_test_id("stDataFrame")).to_be_visible()
    board.page.focus("[data-testid=stDataFrame] canvas[tabindex]")
    board.page.keyboard.press("ArrowDown")
    board.frames_in(1)
    expect(board.page.get_by_role("heading", name="Board")).to_be_visible()
    board.page.keyboard.press("ArrowRight")
    board.see("All well.")
    assert operation_in(board) == ids[0], "the second row: the latest is first"
