"""Start, follow and stop in a real browser: after the end a page sends nothing more.

The timers of fragments live in the browser, so only a browser shows that they ended. A page that
polls sends a websocket frame at every tick; after the ends pages are watched for ten seconds.
"""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from progress.backend.connection import ProgressConnection
from progress.operation import Query, new_operation_id
from tests.browser.conftest import Server, Viewer, free_port, operation_in, start_and_wait
from tests.conftest import wait_for_end
from tests.jobs import STEPS

Visit = Callable[..., Viewer]

ENDS: dict[str, str | re.Pattern[str]] = {
    "succeed": f"Completed: {STEPS} of {STEPS} steps in",
    "partial": f"Partly completed: 2 of {STEPS} steps failed",
    "fail": f"Failed after 2 of {STEPS} steps",
    # The process may die before it has stored its last step.
    "die": re.compile("Failed after [01] "),
    "endless": "Cancelled after",
    "unknown": "There is no operation with this id, or it is not yours",
    "not yours": "There is no operation with this id, or it is not yours",
}


def steps_shown(viewer: Viewer) -> int:
    """Return the number of steps that the page shows of a job without a total."""
    shown = viewer.page.get_by_text("steps so far").last  # after a restart, React still has the old
    found = re.search(r"(\d+) steps so far", shown.inner_text())
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def frames_after_end(visit: Visit, connection: ProgressConnection) -> dict[str, int]:
    """Pages that went to each end, and the frames that they sent in the time after."""
    viewers = {job: visit() for job in ("succeed", "partial", "fail", "die", "endless")}
    for job, viewer in viewers.items():
        viewer.start(job, "slow" if job in ("succeed", "endless") else "fast")
    viewers["endless"].see("steps so far")
    viewers["endless"].page.click(".st-key-cancel button")
    viewers["unknown"] = visit(f"/?operation={new_operation_id()}")
    foreign = new_operation_id()
    connection.start(foreign, "succeed", "fast", "other@example.com")
    viewers["not yours"] = visit(f"/?operation={foreign}")
    for name, viewer in viewers.items():
        viewer.see(ENDS[name])
        viewer.wait_until_startable()
    for viewer in viewers.values():
        # What the last run was still to send is not polling.
        viewer.frames_in(0.5)
    before = {name: viewer.sent for name, viewer in viewers.items()}
    next(iter(viewers.values())).frames_in(10)
    return {name: viewer.sent - before[name] for name, viewer in viewers.items()}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_sent_after_the_end(frames_after_end: dict[str, int], end: str) -> None:
    assert frames_after_end[end] == 0


def test_progress_moves_and_ends(visit: Visit) -> None:
    for _ in range(3):  # a busy machine may draw too few of the ticks
        viewer = visit()
        viewer.start("succeed", "slow")
        viewer.see("Already running for this subject.")
        seen: list[str] = []
        deadline = time.monotonic() + 60
        while not viewer.page.get_by_text(ENDS["succeed"]).count():
            assert time.monotonic() < deadline, seen
            bars = viewer.page.get_by_test_id("stProgress").all_inner_texts()
            seen += [text for text in bars if text not in seen]
            viewer.page.wait_for_timeout(50)
        counts = [text.strip() for text in seen if "steps" in text]
        assert counts == sorted(counts)
        viewer.see("All well.")
        viewer.wait_until_startable()
        if len(counts) >= 3:
            return
    raise AssertionError(seen)


def test_a_reload_and_a_second_tab_go_on_following(visit: Visit) -> None:
    viewer = visit()
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    operation_id = operation_in(viewer)
    viewer.page.reload()
    viewer.see("steps so far")
    second = visit(f"/?operation={operation_id}")
    second.see("steps so far")
    second.page.click(".st-key-cancel button")
    for page in (viewer, second):
        page.see(ENDS["endless"])
        page.wait_until_startable()
    second.page.reload()
    second.see(ENDS["endless"])  # the end is shown after a reload, too
    second.wait_until_startable()
    second.expect_no_polling()


def test_coming_back_to_the_page_resumes(visit: Visit) -> None:
    viewer = visit()
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    operation_id = operation_in(viewer)
    viewer.page.get_by_role("link", name="Board").click()
    viewer.see("Select a row to open the operation")
    viewer.page.get_by_role("link", name="Run").click()
    viewer.see("steps so far")
    assert operation_in(viewer) == operation_id
    viewer.page.click(".st-key-cancel button")
    viewer.see(ENDS["endless"])
    viewer.expect_no_polling()


def test_a_page_without_interaction_stops_polling(
    visit: Visit, pausing_server: Server, connection: ProgressConnection
) -> None:
    operation_id = start_and_wait(connection, "endless")
    viewer = visit(f"/?operation={operation_id}", at=pausing_server)
    viewer.see("Paused after 3 s")
    viewer.see("steps so far")
    viewer.expect_no_polling()
    viewer.resume()
    before = viewer.sent
    viewer.page.get_by_role("link", name="Board").click()
    expect(viewer.page.get_by_role("heading", name="Board")).to_be_visible()
    viewer.wait_for(lambda: viewer.sent > before + 1)  # the click, and a tick
    viewer.see("Paused after 3 s")
    viewer.expect_no_polling()  # nor does it wait for the end there
    viewer.page.get_by_role("link", name="Run").click()
    viewer.see("steps so far")
    viewer.page.click(".st-key-cancel button")
    viewer.see(ENDS["endless"])


def test_a_double_click_starts_one_operation(visit: Visit, connection: ProgressConnection) -> None:
    viewer = visit()
    viewer.choose("job", "succeed")
    viewer.choose("subject", "slow")
    before = {operation.operation_id for operation in connection.recent(Query("", limit=1000))}
    viewer.page.dblclick(".st-key-start button")
    viewer.see(ENDS["succeed"])
    after = {operation.operation_id for operation in connection.recent(Query("", limit=1000))}
    assert after - before == {operation_in(viewer)}


def test_a_restart_of_the_server_goes_on_following(
    visit: Visit, connection: ProgressConnection, environment: dict[str, str]
) -> None:
    other = Server(environment, free_port())
    other.start()
    try:
        viewer = visit(at=other)
        viewer.start("endless", "slow")
        viewer.see("steps so far")
        operation_id = operation_in(viewer)
        other.stop()
        other.start()
        running = connection.read([operation_id])[operation_id]
        assert not running.status.is_terminal, "the job outlives the server"
        viewer.wait_for(lambda: steps_shown(viewer) > running.current_step)
        viewer.page.click(".st-key-cancel button")
        viewer.see(ENDS["endless"])
        wait_for_end(connection, operation_id)
    finally:
        other.stop()
