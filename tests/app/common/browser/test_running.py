"""How a running operation looks in a real browser."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from progress.backend.connection import ProgressConnection
from tests.browser.conftest import Server, Viewer, operation_in, start_and_wait
from tests.conftest import wait_for_end

Visit = Callable[..., Viewer]

MOVING = """() => {
    const [animation] = document.querySelector(".unknown-total div").getAnimations()
    return animation ? animation.currentTime : null
}"""


def test_the_bar_of_an_unknown_total_moves_and_ticks_do_not_disturb_it(
    visit: Visit, connection: ProgressConnection
) -> None:
    viewer = visit()
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    bar = viewer.page.get_by_role("progressbar", name="the total is unknown")
    place, began = bar.bounding_box(), viewer.page.evaluate(MOVING)
    viewer.expect_polling()
    viewer.frames_in(1)
    assert bar.bounding_box() == place
    assert viewer.page.evaluate(MOVING) > began + 1000, "it went on where it was"
    viewer.page.emulate_media(reduced_motion="reduce")
    assert viewer.page.evaluate(MOVING) is None
    viewer.page.click(".st-key-cancel button")
    wait_for_end(connection, operation_in(viewer))


def test_the_step_in_which_a_job_failed_is_in_its_steps(visit: Visit) -> None:
    viewer = visit()
    viewer.start("fail")
    viewer.see("Failed after 2 of 6 steps")
    viewer.page.get_by_text("Steps", exact=True).click()
    viewer.see("3. Step number 3")
    failed = viewer.page.get_by_role("listitem").first
    assert failed.inner_text().split("\n")[-2:] == ["3. Step number 3", "failed"]


SECONDS = "sign => Number(getComputedStyle(sign).counterReset.split(' ')[1])"


@contextmanager
def hung(server: Server) -> Iterator[None]:
    """Stop a server without closing its connections, as when packets are lost."""
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("path", ["/?operation=", "/board?x=", "/feed?x="])
def test_figures_that_no_tick_renews_say_for_how_long(
    visit: Visit, server: Server, connection: ProgressConnection, path: str
) -> None:
    operation_id = start_and_wait(connection, "endless")
    viewer = visit(path + operation_id)
    sign = viewer.page.locator(".late")
    expect(sign).to_have_count(1)
    for _ in range(12):
        assert not sign.is_visible()
        viewer.page.wait_for_timeout(500)
    with hung(server):
        expect(sign).to_be_visible()
        viewer.wait_for(lambda: sign.evaluate(SECONDS) >= 7)
    expect(sign).not_to_be_visible()
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)
