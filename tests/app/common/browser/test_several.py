"""Several operations in one session, their ends on other pages, retries and downloads."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from progress.backend.connection import ProgressConnection
from progress.operation import Query, new_operation_id
from progress.settings import load_settings
from tests.browser.app.axe import expect_accessible
from tests.browser.conftest import Viewer
from tests.conftest import wait_for_end
from tests.jobs import STEPS

Visit = Callable[..., Viewer]

COMPLETED = f"Completed: {STEPS} of {STEPS} steps in"
EVERYTHING = Query(None, limit=1000)


def all_ids(connection: ProgressConnection) -> set[str]:
    return {operation.operation_id for operation in connection.recent(EVERYTHING)}


def ids_in(viewer: Viewer) -> list[str]:
    """Return the ids in the URL."""
    query = viewer.page.url.partition("?")[2]
    return [part.partition("=")[2] for part in query.split("&") if part.startswith("operation=")]


def test_several_end_one_by_one_and_then_nothing_is_sent(visit: Visit) -> None:
    viewer = visit()
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    (endless,) = ids_in(viewer)
    viewer.start("partial", "slow")
    expect(viewer.page.locator(f".st-key-cancel-{endless} button")).to_be_visible()
    viewer.see(f"of {STEPS} steps")  # it has begun, so it ends first
    viewer.start("succeed", "slow")
    viewer.see("Succeed: slow")
    viewer.see(COMPLETED)
    assert len(ids_in(viewer)) == 3
    partial = viewer.page.get_by_text("Partly completed")
    expect(partial).to_be_hidden()  # only what ended last is open
    viewer.page.get_by_text("Partial: slow · Partial, ").click()
    expect(partial).to_be_visible()
    expect(viewer.page.get_by_test_id("stProgress")).to_have_count(0)
    shown = viewer.page.get_by_text("steps so far").inner_text()
    expect(viewer.page.get_by_text("steps so far")).not_to_have_text(shown)
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelled after")
    expect(viewer.page.get_by_text(COMPLETED)).to_be_hidden()
    viewer.wait_until_startable()
    viewer.expect_no_polling()


def test_three_operations_have_one_timer(visit: Visit, connection: ProgressConnection) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "endless", "slow", "")
    viewer = visit("/?" + "&".join(f"operation={operation_id}" for operation_id in ids))
    expect(viewer.page.get_by_text("steps so far")).to_have_count(3)
    interval = load_settings().poll_interval
    viewer.expect_polling()
    began = time.monotonic()
    sent = viewer.frames_in(10 * interval)
    assert sent < 1.6 * (time.monotonic() - began) / interval  # three timers: 3
    viewer.page.reload()
    expect(viewer.page.get_by_text("steps so far")).to_have_count(3)
    assert ids_in(viewer) == ids
    expect_accessible(viewer)
    second = visit("/?" + viewer.page.url.partition("?")[2])
    expect(second.page.get_by_text("steps so far")).to_have_count(3)
    for operation_id in ids:
        second.page.click(f".st-key-untrack-{operation_id} button, .st-key-untrack button")
        expect(second.page.locator(f".st-key-cancel-{operation_id}")).to_have_count(0)
        second.frames_in(0.7)  # longer than a double click
    expect(second.page.get_by_text("steps so far")).to_have_count(0)
    second.expect_no_polling()
    for operation_id in ids:
        connection.cancel(operation_id)
    expect(viewer.page.get_by_text("Cancelled after")).to_have_count(3)
    viewer.expect_no_polling()


def test_an_end_is_a_toast_on_the_board(visit: Visit, connection: ProgressConnection) -> None:
    viewer = visit()
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    (operation_id,) = ids_in(viewer)
    viewer.page.get_by_role("link", name="Board").click()
    expect(viewer.page.get_by_role("heading", name="Board")).to_be_visible()
    connection.cancel(operation_id)
    expect(viewer.page.get_by_test_id("stToast")).to_contain_text("Endless: slow · Cancelled")
    viewer.expect_no_polling()
    viewer.page.get_by_role("link", name="Run").click()
    viewer.see("Cancelled after")
    expect(viewer.page.get_by_test_id("stToast")).to_have_count(0)


def test_a_toast_is_shown_despite_a_click(visit: Visit, connection: ProgressConnection) -> None:
    viewer = visit()
    toast: list[Route] = []  # what the browser loads only when the first one is to be shown
    viewer.page.route("**/Toast*.js", lambda route: toast.append(route))
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    (operation_id,) = ids_in(viewer)
    viewer.page.get_by_role("link", name="Live feed").click()
    expect(viewer.page.get_by_role("heading", name="Live feed")).to_be_visible()
    connection.cancel(operation_id)
    viewer.wait_for(lambda: bool(toast))
    viewer.page.click(".st-key-live label")
    viewer.frames_in(1)
    toast[0].continue_()
    expect(viewer.page.get_by_test_id("stToast")).to_contain_text("Endless: slow · Cancelled")
    expect(viewer.page.get_by_label("Live", exact=True)).not_to_be_checked()
    viewer.expect_no_polling()  # nothing polls on this page now


def test_a_double_click_retries_once(visit: Visit, connection: ProgressConnection) -> None:
    viewer = visit()
    viewer.start("fail", "slow")
    viewer.see("Failed after")
    (old,) = ids_in(viewer)
    before = all_ids(connection)
    viewer.page.dblclick(f".st-key-retry-{old} button")
    viewer.see(f"Retry of {old[:8]}")
    viewer.see("Failed after")
    (new,) = ids_in(viewer)
    expect(viewer.page.locator(f".st-key-retry-{new} button")).to_be_visible()
    assert all_ids(connection) - before == {new}
    assert wait_for_end(connection, new).retry_of == old
    viewer.page.click(f".st-key-origin-{new} button")
    expect(viewer.page.get_by_text("Failed after")).to_have_count(2)
    assert ids_in(viewer) == [old, new]


def test_a_double_click_on_a_quick_job_starts_it_once(
    visit: Visit, connection: ProgressConnection
) -> None:
    viewer = visit()
    viewer.choose("job", "succeed")
    viewer.choose("subject", "fast")
    before = all_ids(connection)
    viewer.page.click(".st-key-start button", click_count=2, delay=150)
    viewer.see(COMPLETED)
    viewer.frames_in(1)
    assert all_ids(connection) - before == set(ids_in(viewer))
    assert len(ids_in(viewer)) == 1


def test_downloads_are_the_table_and_the_result(visit: Visit) -> None:
    viewer = visit()
    viewer.start("succeed")
    viewer.see(COMPLETED)
    (operation_id,) = ids_in(viewer)
    contents = {}
    for kind in ("csv", "json"):
        with viewer.page.expect_download() as started:
            viewer.page.click(f".st-key-{kind}-{operation_id} button")
        assert started.value.suggested_filename == f"succeed-fast.{kind}"
        contents[kind] = Path(started.value.path()).read_text("utf-8-sig")
    assert contents["csv"].split() == ["step,rows", "1,10"]
    assert json.loads(contents["json"])["notes"] == ["All well."]


def test_the_download_of_a_table_that_writes_formulas_is_hidden(visit: Visit) -> None:
    viewer = visit()
    viewer.start("succeed")
    for page, text in (("Run", COMPLETED), ("Board", "Select a row")):
        viewer.page.get_by_role("link", name=page).click()
        viewer.see(text)
        viewer.page.get_by_test_id("stDataFrame").hover()
        buttons = viewer.page.locator("[data-testid=stElementToolbar] button:visible")
        expect(buttons.last).to_have_attribute("aria-label", "Fullscreen")
        names = [button.get_attribute("aria-label") for button in buttons.all()]
        assert names == ["Show/hide columns", "Search", "Fullscreen"]


@pytest.mark.parametrize("job", ["rows", "endless"])
def test_nothing_jumps_between_ticks_on_a_phone(visit: Visit, job: str) -> None:
    viewer = visit()
    viewer.page.set_viewport_size({"width": 390, "height": 800})
    viewer.start(job, "slow")
    expect(viewer.page.locator("ol[aria-label='Latest steps'] + p")).to_be_visible()
    viewer.frames_in(2)
    places = set()
    for _ in range(40):
        box = viewer.page.locator(".st-key-history").bounding_box()
        assert box is not None
        places.add(round(box["y"]))
        viewer.page.wait_for_timeout(100)
    expect_accessible(viewer)
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelled after")
    assert len(places) == 1, places
