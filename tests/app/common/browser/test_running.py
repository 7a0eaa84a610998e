"""How a running operation looks in a real browser."""

from collections.abc import Callable

from progress.backend.connection import ProgressConnection
from tests.browser.conftest import Viewer, operation_in
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
    viewer.see("2 steps so far")
    bar = viewer.page.get_by_role("progressbar", name="the total is unknown")
    place, began = bar.bounding_box(), viewer.page.evaluate(MOVING)
    viewer.see("5 steps so far")
    assert bar.bounding_box() == place
    assert viewer.page.evaluate(MOVING) > began + 500, "it went on where it was"
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
