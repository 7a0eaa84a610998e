"""The wiring of the run page: start, follow, end, cancel, retry, pause."""

import re
from dataclasses import replace
from typing import Any

import pytest

from progress.backend.connection import ProgressConnection
from progress.contract import BackendUnavailable
from progress.operation import new_operation_id
from progress.session import resources
from progress.text import truncate
from tests.conftest import wait_for_end, wait_until
from tests.pages import (
    TESTER,
    captions,
    click,
    end_all,
    entries,
    figures,
    ids_in_url,
    is_cancelled,
    labels,
    markup,
    open_page,
    run_until,
    running,
    start,
    switch_page,
    texts,
)

pytestmark = pytest.mark.usefixtures("fresh_app")


def test_start_follow_and_end() -> None:
    page = start(open_page(), "succeed", "slow")
    assert "Already running for this subject." in captions(page)
    assert page.query_params["operation"]
    run_until(page, lambda page: bool(page.success))
    assert page.success[0].value.startswith("Completed: 6 of 6 steps in")
    assert "Already running for this subject." not in captions(page)
    assert figures(page) == {"Steps": "6"}
    assert "All well." in texts(page)
    assert not running(page)
    assert not switch_page(page, "board").toast, "the page has shown it"


def test_a_failure_shows_its_last_line_and_the_traceback() -> None:
    page = run_until(start(open_page(), "fail"), lambda page: bool(page.error))
    assert page.error[0].value.startswith("Failed after 2 of 6 steps")
    assert page.code[0].value == "RuntimeError: the **third** step broke :red[badly]"
    assert "Traceback" in [expander.label for expander in page.expander]
    assert page.code[1].value.startswith("Traceback (most recent call last):")


def test_cancel_is_shown_as_cancelling_until_it_is_acknowledged() -> None:
    page = start(open_page(), "endless", "slow")
    page.button(key="cancel").click().run()
    if not is_cancelled(page):  # a backend that can end a job in the middle of a step may be quick
        assert page.button(key="cancel").label == "Cancelling"
    run_until(page, is_cancelled)


def test_an_unknown_id_in_the_url_is_a_plain_message() -> None:
    page = open_page(operation=(name := new_operation_id()))
    assert page.warning[0].value.startswith("There is no operation with this id")
    assert texts(page) == [name]
    assert not page.button(key="start").disabled


@pytest.mark.parametrize("name", ["x' OR '1'='1", "<b>*no*</b>", "ü" * 5000])
def test_text_in_the_url_that_is_no_id_is_a_plain_message(name: str) -> None:
    page = open_page(operation=name)
    assert page.error[0].value == "The address names an invalid operation id:"
    assert texts(page) == [truncate(name, 200)]
    assert not page.button(key="start").disabled


def test_an_operation_of_another_owner_reads_as_unknown(connection: ProgressConnection) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "endless", "slow", "other@example.com")
    wait_until(connection, operation_id, lambda operation: operation.current_step > 0)
    page = open_page(operation=operation_id)
    assert page.warning[0].value.startswith("There is no operation with this id")
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def test_a_page_without_interaction_pauses_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page(), "endless", "slow")
    run_until(page, lambda page: "Round" in markup(page))
    assert 'class="unknown-total moving"' in markup(page)
    with monkeypatch.context() as patch:
        patch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, idle_budget=0.0))
        page.run()
        assert page.info[0].value.startswith("Paused after")
        assert "What is below is as of" in page.info[0].value
        assert "Round" in markup(page), "what was known stays"
        assert 'class="unknown-total "' in markup(page), "its bar does not move"
        assert "Resume" in labels(page)
        assert running(page)
    page.button(key="resume").click().run()
    assert not page.info
    end_all(page)


def test_a_start_that_fails_says_so_and_keeps_its_id_for_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids: list[str] = []

    def refuse(self: ProgressConnection, operation_id: str, *rest: str) -> None:
        ids.append(operation_id)
        raise BackendUnavailable("no *route* to it")

    page = open_page()
    monkeypatch.setattr(ProgressConnection, "start", refuse)
    for _ in range(2):
        start(page, "succeed")
        assert page.error[0].value == "The operation could not be started. Try again."
        assert "no *route* to it" in texts(page)
        assert not page.button(key="start").disabled
    start(page, "fail")
    assert ids[0] == ids[1] != ids[2]
    assert "operation" not in page.query_params


def test_an_unavailable_backend_is_not_a_failed_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page(), "endless", "slow")
    run_until(page, lambda page: "Round" in markup(page))
    with monkeypatch.context() as patch:

        def fail(self: ProgressConnection, ids: list[str]) -> None:
            raise BackendUnavailable("no route")

        patch.setattr(ProgressConnection, "read", fail)
        run_until(page, lambda page: bool(page.warning))
        assert page.warning[0].value.startswith("The progress cannot be read now.")
        run_until(page, lambda page: re.search("as of [0-9]+ s ago", markup(page)) is not None)
        assert "Round" in markup(page), "what was known stays"
        assert not page.error
    run_until(page, lambda page: not page.warning)
    end_all(page)


@pytest.mark.parametrize(
    "result",
    [
        {"metrics": {"*a*": "$5 to $7"}, "notes": "All well."},
        {"metrics": 5, "notes": 5, "table": 5, "chart": 5},
        {"chart": [{}], "table": [{}]},
        {"chart": [{"": 1, "a:b": 2}], "table": [{"c.d": 2**70}]},
        {"chart": [{"x": 2**70, "y": None}], "notes": [None, {"a": 1}]},
    ],
)
def test_whatever_a_job_returns_can_be_drawn(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any]
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "fast", TESTER)
    ended = wait_for_end(connection, operation_id)
    odd = replace(ended, result=result)
    monkeypatch.setattr(ProgressConnection, "read", lambda self, ids: {operation_id: odd})
    page = open_page(operation=operation_id)
    assert page.success[0].value.startswith("Completed")


def test_several_operations_end_one_by_one() -> None:
    page = start(open_page(), "endless", "slow")
    (endless,) = running(page)
    page.selectbox(key="job").set_value("succeed").run()
    assert "Already running for this subject." not in captions(page)
    start(page, "succeed", "slow")
    succeed, other = running(page)
    assert other == endless
    assert ids_in_url(page) == [succeed, endless]
    assert page.button(key=f"cancel-{endless}").label == "Cancel"
    assert "Already running for this subject." in captions(page)
    click(page, "start")
    assert running(page) == [succeed, endless], "it starts nothing twice"
    run_until(page, lambda page: bool(page.success))
    assert running(page) == [endless]
    assert ids_in_url(page) == [succeed, endless]
    assert "Already running for this subject." not in captions(page)
    page.button(key="cancel").click().run()
    run_until(page, lambda page: not running(page))
    assert page.success
    assert page.info[0].value.startswith("Cancelled")


def test_an_outcome_can_be_dismissed() -> None:
    page = run_until(start(open_page(), "succeed"), lambda page: bool(page.success))
    (one,) = entries(page)
    page.button(key=f"dismiss-{one.operation_id}").click().run()
    assert not page.success
    assert "operation" not in page.query_params


def test_a_failed_operation_is_retried_in_its_place(connection: ProgressConnection) -> None:
    page = run_until(start(open_page(), "fail"), lambda page: bool(page.error))
    (old,) = entries(page)
    page.button(key=f"retry-{old.operation_id}").click().run()
    run_until(page, lambda page: bool(page.error))
    (new,) = entries(page)
    assert new.operation_id != old.operation_id
    assert connection.read([new.operation_id])[new.operation_id].retry_of == old.operation_id
    assert f"Retry of {old.operation_id[:8]}" in labels(page)
    page.button(key=f"origin-{new.operation_id}").click().run()
    assert [one.operation_id for one in entries(page)] == [old.operation_id, new.operation_id]
    assert len(page.error) == 2
    assert page.button(key=f"origin-{new.operation_id}").disabled
