"""What a job declares and does, on the page: form, log, files, loops, and the end by force."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, expect

from progress.backend.connection import ProgressConnection
from progress.operation import Options
from tests.browser.app.axe import expect_accessible
from tests.browser.conftest import Viewer, operation_in
from tests.conftest import wait_for_end, wait_until

Visit = Callable[..., Viewer]


def field(viewer: Viewer, name: str, kind: str = "input") -> Locator:
    """Return the widget of a parameter of the job `work`."""
    return viewer.page.locator(f"[class*=st-key-parameter-work-{name}] {kind}")


def test_a_form_is_validated_stored_and_edited_again(
    visit: Visit, connection: ProgressConnection
) -> None:
    viewer = visit()
    viewer.choose("job", "work")
    for name in ("factor", "name", "size", "mode", "columns", "day", "at", "limit"):
        expect(field(viewer, name).first).to_be_visible()
    expect(field(viewer, "comment", "textarea")).to_be_visible()
    expect(field(viewer, "rows")).to_have_value("3")
    field(viewer, "limit").fill("50")
    field(viewer, "limit").press("Tab")
    field(viewer, "factor").fill("0")
    field(viewer, "factor").press("Tab")
    viewer.page.click(".st-key-start button")
    viewer.see("Input should be greater than 0")
    expect_accessible(viewer)
    assert "operation=" not in viewer.page.url, "nothing was started"
    field(viewer, "factor").fill("2.5")
    field(viewer, "factor").press("Tab")
    viewer.page.click(".st-key-start button")
    viewer.see("limit is above rows")
    expect(viewer.page.get_by_text("Input should be greater than 0")).to_have_count(0)
    field(viewer, "limit").fill("2")
    field(viewer, "limit").press("Tab")
    day = field(viewer, "day", "[role=spinbutton]")  # year, month and day
    day.first.click()
    viewer.page.keyboard.type("19500203")
    viewer.page.keyboard.press("Tab")
    viewer.page.click(".st-key-start button")
    viewer.see("Completed")
    operation_id = operation_in(viewer)
    parameters = connection.read([operation_id])[operation_id].options.parameters
    assert parameters == {
        "rows": 3,
        "factor": 2.5,
        "name": "all",
        "comment": "",
        "dry_run": False,
        "size": "small",
        "mode": "fast",
        "columns": ["a"],
        "day": "1950-02-03",
        "at": None,
        "limit": 2,
    }
    viewer.see("factor = 2.5")
    viewer.expect_no_polling()
    field(viewer, "limit").fill("1")
    field(viewer, "limit").press("Tab")
    viewer.page.click(f".st-key-edit-{operation_id} button")
    expect(field(viewer, "limit")).to_have_value("2")
    expect(field(viewer, "factor")).to_have_value("2.5")
    expect(day).to_have_text(["1950", "02", "03"])


def test_the_log_is_live_and_a_download(visit: Visit) -> None:
    viewer = visit()
    viewer.start("count", "words")
    viewer.see("of 20 items")
    viewer.see("Last: ")
    operation_id = operation_in(viewer)
    viewer.page.click(f".st-key-log-{operation_id} label")
    viewer.see("→ printed")
    viewer.see("Completed")
    viewer.see("→ printed")
    expect_accessible(viewer)
    with viewer.page.expect_download() as started:
        viewer.page.click(f".st-key-download-log-{operation_id} button")
    text = Path(started.value.path()).read_text("utf-8")
    assert " → printed\n" in text
    assert " to stderr\n" in text
    viewer.expect_no_polling()


def test_the_log_is_a_download_while_the_job_runs(visit: Visit) -> None:
    viewer = visit()
    viewer.start("endless")
    viewer.see(re.compile("Round"))
    operation_id = operation_in(viewer)
    viewer.page.click(f".st-key-log-{operation_id} label")
    viewer.see("endless began")
    with viewer.page.expect_download() as started:
        viewer.page.click(f".st-key-download-log-{operation_id} button")
    assert Path(started.value.path()).read_text("utf-8").endswith(" endless began\n")
    viewer.expect_polling()
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelled after")


def test_a_file_is_uploaded_and_kept_files_are_downloads(visit: Visit) -> None:
    viewer = visit()
    viewer.choose("job", "keep")
    expect(viewer.page.locator(".st-key-start button")).to_be_disabled()
    viewer.page.locator(".st-key-upload input").set_input_files(
        {"name": "my data.csv", "mimeType": "text/csv", "buffer": b"a,b\n"}
    )
    viewer.wait_until_startable()
    expect_accessible(viewer)
    viewer.page.click(".st-key-start button")
    viewer.see("Completed")
    with viewer.page.expect_download() as started:
        viewer.page.get_by_role("button", name="copy of it.txt (4 bytes)").click()
    assert started.value.suggested_filename == "copy of it.txt"
    assert Path(started.value.path()).read_bytes() == b"A,B\n"
    viewer.expect_no_polling()


def test_a_job_that_does_not_stop_is_ended_by_force(visit: Visit) -> None:
    viewer = visit()
    viewer.start("stubborn")
    viewer.see("1 step so far")
    expect(viewer.page.locator("[class*=st-key-force] button")).to_have_count(0)
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelling: waiting for the job to stop.")
    expect(viewer.page.locator("[class*=st-key-force] button")).to_have_count(0)
    viewer.see("Force stop")
    expect_accessible(viewer)
    viewer.page.click(".st-key-force button")
    viewer.see("Cancelled after")
    viewer.see("stopped by force")
    viewer.expect_no_polling()


def test_a_queued_operation_shows_its_position(
    visit: Visit, connection: ProgressConnection
) -> None:
    ids = [f"queue-{number}" for number in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "alone", "slow", "", options=Options(max_running=1))
    wait_until(connection, ids[0], lambda operation: operation.current_step > 0)
    viewer = visit(f"/?operation={ids[2]}")
    viewer.see("number 2 in the queue")
    for operation_id in ids:
        connection.cancel(operation_id)
    viewer.see("Cancelled after")
    for operation_id in ids:
        wait_for_end(connection, operation_id)
    viewer.expect_no_polling()


def test_attempts_are_counted(visit: Visit) -> None:
    viewer = visit()
    viewer.start("flaky")
    viewer.see("Completed")
    viewer.see("attempt 3 of 3 after OSError: not yet")
