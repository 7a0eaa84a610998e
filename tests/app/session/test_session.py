"""The session: what is tracked, the URL, double clicks, interrupted callbacks, pauses, toasts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData
from streamlit.testing.v1 import AppTest

from progress.backend.connection import ProgressConnection
from progress.contract import BackendUnavailable
from progress.operation import Operation, Query, new_operation_id
from progress.poller import Poller, Snapshot
from progress.session import commands, polling, resources, tracking
from progress.session.tracking import Entry
from progress.settings import Page
from tests.conftest import wait_for_end, wait_until
from tests.pages import (
    TESTER,
    captions,
    click,
    end_all,
    entries,
    ids_in_url,
    is_cancelled,
    is_polling,
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


def test_overlapping_starts_are_one_operation(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    started = ProgressConnection.start
    ids = []

    def start_twice(self: ProgressConnection, operation_id: str, *others: Any) -> None:
        ids.append(operation_id)
        if len(ids) == 1:
            # The second half of a double click, in its thread.
            commands.start(tracking.Start("succeed", "fast"))
        started(self, operation_id, *others)

    monkeypatch.setattr(ProgressConnection, "start", start_twice)
    start(page, "succeed")
    assert len(ids) == 2
    assert [ids[0]] == [ids[1]] == [one.operation_id for one in entries(page)]
    run_until(page, lambda page: bool(page.success))


@pytest.fixture
def intervals(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What fragments are given, in the order of the calls."""
    given: list[float] = []
    fragment = st.fragment

    def note(run_every: float) -> Any:
        given.append(run_every)
        return fragment(run_every=run_every)

    monkeypatch.setattr("streamlit.fragment", note)
    return given


@pytest.mark.parametrize("name", ["run", "board", "feed"])
def test_a_page_that_opens_under_load_polls_less_often(
    name: str, intervals: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(name)
    intervals.clear()
    monkeypatch.setattr("progress.adaptive_interval.interval", lambda wanted: 10 * wanted)
    assert not page.run().exception
    assert intervals == [10 * resources.SETTINGS.poll_interval] * 2, "the notices and the page"


@pytest.mark.parametrize("name", ["run", "board", "feed"])
def test_a_page_asks_for_a_full_rerun_when_the_load_has_fallen(
    name: str, intervals: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(open_page(), "endless", "slow")
    page = open_page(name, operation=ids_in_url(first))
    intervals.clear()
    factors = iter([10])
    monkeypatch.setattr(
        "progress.adaptive_interval.interval", lambda wanted: next(factors, 1) * wanted
    )
    monkeypatch.setattr(
        "progress.adaptive_interval.may_shorten", lambda current, wanted: current > wanted
    )
    reruns: list[None] = []
    monkeypatch.setattr("progress.adaptive_interval.note_rerun", lambda: reruns.append(None))
    assert not page.run().exception
    usual = resources.SETTINGS.poll_interval
    assert intervals[0] == 10 * usual
    assert intervals[-1] == usual
    assert len(reruns) == 1, "the other pages wait"
    assert is_polling(page, {"run": "progress"}.get(name, name))
    end_all(first)


def test_every_tick_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[None] = []
    monkeypatch.setattr("progress.adaptive_interval.count_tick", lambda: ticks.append(None))
    page = open_page()
    assert not ticks, "nothing polls"
    page = start(page, "endless", "slow")
    assert len(ticks) == 1
    page.run()
    assert len(ticks) == 2
    end_all(page)


def test_a_cancel_of_another_tab_is_shown_on_the_button(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "slow", TESTER)
    found = wait_until(connection, operation_id, lambda found: found.current_step > 0)
    asked = {operation_id: replace(found, cancel_requested=True)}
    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "read", lambda self, ids: asked)
        page = open_page(operation=operation_id)
        assert page.button(key="cancel").label == "Cancelling"
    end_all(page)


def test_an_operation_that_disappears_is_unknown_and_not_failed(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = start(open_page(), "endless", "slow")
    (operation_id,) = running(page)
    run_until(page, lambda page: "Round" in markup(page))
    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "read", lambda self, ids: {})
        run_until(page, lambda page: not running(page))
    assert page.warning[0].value.startswith("There is no operation with this id")
    assert "Endless: slow" in texts(page)
    assert not page.error
    assert "Retry" not in labels(page)
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def test_a_shared_app_shows_the_operations_of_all_owners(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "fast", "other@example.com")
    wait_for_end(connection, operation_id)
    monkeypatch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, shared=True))
    page = open_page(operation=operation_id)
    assert page.success[0].value.startswith("Completed")
    assert "other@example.com" in {row.owner for row in connection.recent(Query(None))}
    assert "other@example.com" in set(open_page("board").dataframe[0].value["Owner"])


def test_an_operation_of_another_owner_cannot_be_cancelled(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "slow", "other@example.com")
    with monkeypatch.context() as patch:
        # Before the first update the page cannot know whose it is.
        patch.setattr(Poller, "read_all", lambda self, keys: {key: Snapshot() for key in keys})
        page = open_page(operation=operation_id)
        page.button(key="cancel").click().run()
        assert not entries(page)[0].cancel_requested
    monkeypatch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, shared=True))
    page = open_page(operation=operation_id)
    run_until(page, lambda page: "Step number" in markup(page))
    assert "Cancel" not in labels(page)
    assert wait_for_end(connection, operation_id).status == "completed"


def paused(page: AppTest) -> bool:
    return "Resume" in labels(page)


@pytest.mark.parametrize("what", ["start", "retry", "history", "cancel"])
def test_a_button_of_a_paused_page_resumes_it(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "fail", "fast", TESTER)
    wait_for_end(connection, operation_id)
    page = open_page(operation=operation_id)
    page.selectbox(key="subject").set_value("fast")
    page.session_state["history"] = True
    start(page, "endless")
    with monkeypatch.context() as patch:
        patch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, idle_budget=0.0))
        page.session_state["history"] = True
        page.run()
    page.session_state["history"] = True
    page.run()
    assert paused(page), "a rerun of its own does not resume it"
    if what == "start":
        page.session_state["history"] = True
        page.selectbox(key="job").set_value("succeed").run()
        assert paused(page)
        page.button(key="start").click().run()
    elif what == "history":
        page.button(key=f"dismiss-{operation_id}").click()
        page.session_state["history"] = True
        page.run()
        assert paused(page)
        page.button(key=f"history-{operation_id}").click().run()
    else:
        page.button(key=f"retry-{operation_id}" if what == "retry" else "cancel").click().run()
    assert not paused(page)
    end_all(page)


def test_a_click_that_interrupts_a_pausing_tick_is_an_interaction() -> None:
    page = start(open_page(), "endless", "slow")
    page.selectbox(key="job").set_value("succeed").run()
    page.session_state[polling._INTERACTED_AT] = -float("inf")
    page.session_state[polling._PAUSED] = True
    page.session_state[polling._FULL_RERUN] = True
    page.button(key="start").click().run()
    assert not paused(page)
    end_all(page)


def test_the_end_of_an_operation_is_no_interaction(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page(), "succeed")
    before = time.monotonic() - 100

    def age() -> None:
        st.session_state[polling._INTERACTED_AT] = before

    monkeypatch.setattr("progress.adaptive_interval.count_tick", age)
    run_until(page, lambda page: bool(page.success))
    assert page.session_state[polling._INTERACTED_AT] == before


def test_a_start_whose_answer_was_lost_does_not_block_the_next_one(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ProgressConnection.start

    def lose_the_answer(self: ProgressConnection, *arguments: Any) -> None:
        real(self, *arguments)
        raise BackendUnavailable("no route")

    page = open_page()
    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "start", lose_the_answer)
        start(page, "succeed")
    arrived = connection.recent(Query(TESTER))[0].operation_id
    page.query_params["operation"] = arrived
    page.run()
    run_until(page, lambda page: bool(page.success))
    start(page, "succeed")
    assert page.query_params["operation"] != [arrived]
    run_until(page, lambda page: len(page.success) == 2)
    assert connection.recent(Query(TESTER))[0].operation_id != arrived


def click_on() -> None:
    """Do what Streamlit does when the viewer clicks while a run is under way."""
    context = get_script_run_ctx()
    assert context is not None
    assert context.script_requests is not None
    # The URL of the browser: it has not received what this run has changed.
    data = RerunData(context.query_string, page_script_hash=context.page_script_hash)
    context.script_requests.request_rerun(data)


def test_a_page_drawn_during_a_start_polls_until_it_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = open_page()
    pending: list[list[str]] = []
    real = ProgressConnection.start

    def note(self: ProgressConnection, operation_id: str, *others: Any) -> None:
        pending.append([*tracking.starting()])
        real(self, operation_id, *others)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "start", note)
        start(page, "succeed")
    assert pending == [[one.operation_id for one in entries(page)]]
    run_until(page, lambda page: bool(page.success))
    assert not is_polling(page, "progress")
    page.session_state[tracking._STARTING] = ["a" * 32]
    page.run()
    assert is_polling(page, "progress")
    assert is_polling(switch_page(page, "board"), "notices")


@pytest.mark.parametrize("old_job", ["", "fail"])
def test_a_click_during_a_start_loses_nothing(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch, old_job: str
) -> None:
    page = open_page()
    if old_job:
        page = run_until(start(page, old_job), lambda page: bool(page.error))
    real = ProgressConnection.start

    def start_while_clicked_on(self: ProgressConnection, *arguments: Any) -> None:
        real(self, *arguments)
        click_on()

    monkeypatch.setattr(ProgressConnection, "start", start_while_clicked_on)
    if old_job:
        old = entries(page)[0].operation_id
        page.button(key=f"retry-{old}").click().run()
    else:
        start(page, "endless", "slow")
    page.run()
    assert [one.operation_id for one in entries(page)] == ids_in_url(page)
    assert ids_in_url(page) == [connection.recent(Query(TESTER))[0].operation_id]
    monkeypatch.undo()
    end_all(page)


def test_a_click_during_a_cancel_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page(), "endless", "slow")
    real = ProgressConnection.read

    def read_while_clicked_on(
        self: ProgressConnection, ids: Sequence[str]
    ) -> Mapping[str, Operation]:
        click_on()
        return real(self, ids)

    with monkeypatch.context() as patched:
        patched.setattr(ProgressConnection, "read", read_while_clicked_on)
        page.button(key="cancel").click().run()
    run_until(page, is_cancelled)


def test_a_job_that_does_not_stop_does_not_keep_its_subject(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = start(open_page(), "endless", "slow")
    (operation_id,) = running(page)
    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "cancel", lambda self, operation_id: None)
        click(page, "cancel")
    assert "Cancelling" in labels(page)
    assert "Already running for this subject." in captions(page)
    click(page, "untrack")
    assert "Already running for this subject." not in captions(page)
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def test_ids_in_the_url_are_tracked_in_their_order(connection: ProgressConnection) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id, job in zip(ids, ("succeed", "endless", "fail"), strict=True):
        connection.start(operation_id, job, "slow" if job == "endless" else "fast", TESTER)
    wait_for_end(connection, ids[0])
    wait_for_end(connection, ids[2])
    page = open_page(operation=[*ids, ids[0]])
    assert [one.operation_id for one in entries(page)] == ids
    assert running(page) == [ids[1]]
    assert ids_in_url(page) == ids
    page.selectbox(key="job").set_value("endless")
    page.selectbox(key="subject").set_value("slow").run()
    assert "Already running for this subject." in captions(page), (
        "an operation from the URL counts as running"
    )
    # A link to another one, as the board gives it, is followed besides the rest.
    page.query_params["operation"] = [other := new_operation_id()]
    page.run()
    assert ids_in_url(page) == [other, *ids]
    end_all(page)


def test_a_session_tracks_at_most_max_tracked(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "MAX_TRACKED", 2)
    ids = [new_operation_id() for _ in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "endless", "slow", TESTER)
    page = open_page(operation=ids)
    assert running(page) == ids[:2]
    assert page.error[0].value == "This page tracks at most 2 operations. Left out:"
    assert ids[2] in texts(page)
    assert any(caption.startswith("This page tracks 2") for caption in captions(page))
    assert running(click(page, "start")) == ids[:2]
    page.run()
    assert not page.error, "it is said once"
    page.button(key=f"untrack-{ids[0]}").click().run()
    assert running(page) == [ids[1]]
    assert ids_in_url(page) == [ids[1]]
    assert not any(caption.startswith("This page tracks 2") for caption in captions(page))
    assert not connection.read([ids[0]])[ids[0]].cancel_requested, "it goes on"
    for operation_id in ids:
        connection.cancel(operation_id)
    end_all(page)


def test_the_oldest_outcome_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "MAX_TRACKED", 2)
    page = open_page()
    for job in ("succeed", "partial", "fail"):
        run_until(start(page, job), lambda page: not running(page))
    assert [one.job for one in entries(page)] == ["fail", "partial"]
    assert ids_in_url(page) == [one.operation_id for one in entries(page)]


def test_an_outdated_url_does_not_restore_a_dismissed_outcome(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "succeed", "fast", TESTER)
        wait_for_end(connection, operation_id)
    page = open_page(operation=ids)
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    monkeypatch.setattr(tracking, "URL_DELAY", 1000.0)
    for operation_id in ids[:2]:
        page.button(key=f"dismiss-{operation_id}").click().run()
        # The browser has not heard of it yet, and runs the page again: a double click, a choice.
        page.query_params["operation"] = ids
        page.run()
    assert [one.operation_id for one in entries(page)] == ids[2:]
    assert ids_in_url(page) == ids[2:]
    switch_page(page, "board")
    page.query_params["operation"] = ids[0]
    switch_page(page, "run")
    assert ids_in_url(page) == [ids[0], ids[2]], "a link from another page is meant"
    page.button(key=f"dismiss-{ids[0]}").click().run()
    monkeypatch.setattr(tracking, "URL_DELAY", 0.0)
    page.query_params["operation"] = ids[0]
    page.run()
    assert ids_in_url(page) == [ids[0], ids[2]], "and so is one that comes later"


def test_an_outdated_url_does_not_restore_an_outcome_that_made_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "MAX_TRACKED", 2)
    monkeypatch.setattr(tracking, "URL_DELAY", 1000.0)
    page = open_page()
    for job in ("succeed", "partial"):
        run_until(start(page, job), lambda page: not running(page))
    before = ids_in_url(page)
    start(page, "fail")
    after = ids_in_url(page)
    page.query_params["operation"] = before
    page.run()
    assert ids_in_url(page) == after


def test_the_second_half_of_a_double_click_after_the_end_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = run_until(start(open_page(), "succeed"), lambda page: bool(page.success))
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "DOUBLE_CLICK", 1000.0)
        page.button(key="start").click().run()
        assert len(entries(page)) == 1
        assert not page.error
        run_until(start(page, "partial"), lambda page: bool(page.warning))
        assert len(entries(page)) == 2, "another job is another click"
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    run_until(start(page, "succeed"), lambda page: len(page.success) == 2)


def test_a_completed_operation_is_not_retried() -> None:
    page = run_until(start(open_page(), "succeed"), lambda page: bool(page.success))
    assert "Retry" not in labels(page)


def test_a_retry_that_fails_keeps_the_outcome(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = run_until(start(open_page(), "fail"), lambda page: bool(page.error))
    (old,) = entries(page)

    def refuse(self: ProgressConnection, *arguments: Any) -> None:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(ProgressConnection, "start", refuse)
    page.button(key=f"retry-{old.operation_id}").click().run()
    assert page.error[0].value == "The operation could not be started. Try again."
    assert entries(page) == [old]
    assert not page.button(key=f"retry-{old.operation_id}").disabled


def test_a_retry_takes_only_the_place_of_what_it_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "MAX_TRACKED", 2)
    page = open_page()
    for job in ("fail", "partial"):
        run_until(start(page, job), lambda page: not running(page))
    outcomes = ids_in_url(page)
    retry = f"retry-{outcomes[0]}"
    with monkeypatch.context() as patch:

        def refuse(self: ProgressConnection, *arguments: Any) -> None:
            raise BackendUnavailable("no route")

        patch.setattr(ProgressConnection, "start", refuse)
        page.button(key=retry).click().run()
        assert ids_in_url(page) == outcomes, "nothing is lost"
    page.button(key=retry).click().run()
    assert len(entries(page)) == 2
    assert ids_in_url(page)[1] == outcomes[1]
    run_until(page, lambda page: not running(page))


def test_a_retry_is_of_the_whole_subject_however_long(connection: ProgressConnection) -> None:
    operation_id, subject = new_operation_id(), "long *subject* " * 100
    connection.start(operation_id, "fail", subject, TESTER)
    wait_for_end(connection, operation_id)
    page = open_page(operation=operation_id)
    assert texts(page)[0].startswith("Fail: long *subject*")
    assert len(texts(page)[0]) == 200
    page.button(key=f"retry-{operation_id}").click().run()
    run_until(page, lambda page: not running(page))
    assert [one.subject for one in entries(page)] == [subject]
    assert len(connection.recent(Query(TESTER, subject=subject))) == 2


def test_in_a_shared_app_a_retry_belongs_to_the_viewer(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "fail", "fast", "other@example.com")
    before = wait_for_end(connection, operation_id)
    monkeypatch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, shared=True))
    page = open_page(operation=operation_id)
    page.button(key=f"retry-{operation_id}").click().run()
    (new,) = entries(page)
    assert "Cancel" in labels(page) or new.ended
    found = wait_for_end(connection, new.operation_id)
    assert (found.owner, found.retry_of) == (TESTER, operation_id)
    assert connection.read([operation_id])[operation_id].status is before.status


def test_of_several_outcomes_the_last_end_is_open(connection: ProgressConnection) -> None:
    ids = [new_operation_id() for _ in range(2)]
    for operation_id, job in zip(ids, ("fail", "succeed"), strict=True):
        connection.start(operation_id, job, "fast", TESTER)
        wait_for_end(connection, operation_id)
    page = open_page(operation=ids)
    failed, succeeded = [box for box in page.expander if "fast" in box.label]
    assert failed.label.startswith(r":red[:material/error:] Fail\: fast · Failed\, ")
    assert succeeded.label.startswith(r":green[:material/check_circle:] Succeed\: fast · Completed")
    assert (failed.proto.expanded, succeeded.proto.expanded) == (False, True)
    assert failed.error[0].value.startswith("Failed after 2 of 6 steps")
    click(page, f"dismiss-{ids[1]}")
    assert [box.label for box in page.expander if "fast" in box.label] == [], "the only one"
    assert texts(page)[0] == "Fail: fast"


def test_the_start_button_names_the_job_if_there_are_several(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    page.selectbox(key="job").set_value("odd_text").run()
    assert page.button(key="start").label == r"Run Odd text"
    monkeypatch.setattr("tests.jobs.JOBS", {"odd_text": print})
    assert open_page().button(key="start").label == resources.SETTINGS.operation


def follows(page: AppTest) -> list[str]:
    """Return the ids of the operations that the page offers to follow."""
    keys = [str(button.key) for button in page.button]
    return [key.removeprefix("track-") for key in keys if key.startswith("track-")]


def test_a_page_offers_what_its_viewer_runs_and_reads_it_once(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id, job, owner in zip(
        ids,
        ("endless", "endless", "succeed"),
        (TESTER, "other@example.com", TESTER),
        strict=True,
    ):
        connection.start(operation_id, job, "slow" if job == "endless" else "fast", owner)
    wait_for_end(connection, ids[2])
    reads: list[Query] = []
    real = ProgressConnection.recent

    def recent(self: ProgressConnection, query: Query) -> list[Operation]:
        reads.append(query)
        return real(self, query)

    monkeypatch.setattr(ProgressConnection, "recent", recent)
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    page = open_page()
    assert follows(page) == ids[:1]
    page.selectbox(key="job").set_value("endless")
    page.selectbox(key="subject").set_value("slow").run()
    assert captions(page)[1].startswith("Already running for this subject: track it below")
    assert not is_polling(page, "progress")
    click(page, f"track-{ids[0]}")
    assert running(page) == ids[:1]
    assert follows(page) == []
    before = len(reads)
    assert follows(open_page(operation=ids[0])) == []
    page.run()
    assert len(reads) == before, "a page that tracks an operation reads nothing"
    click(page, "untrack")
    assert follows(page) == ids[:1]
    connection.cancel(ids[0])
    wait_for_end(connection, ids[0])
    page.run()
    assert follows(page) == [], "an interaction reads again what is offered"
    before = len(reads)
    page.run()
    assert len(reads) == before, "and nothing if nothing was offered"
    switch_page(page, "board")
    ids[0] = new_operation_id()
    connection.start(ids[0], "endless", "slow", TESTER)
    assert follows(switch_page(page, "run")) == ids[:1], "the page opens again"
    for operation_id in ids[:2]:
        connection.cancel(operation_id)
        wait_for_end(connection, operation_id)


def test_a_page_says_that_it_cannot_know_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ProgressConnection, query: Query) -> list[Operation]:
        raise BackendUnavailable("no route")

    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "recent", fail)
        page = open_page()
        assert page.error[0].value == "The running operations cannot be read."
        assert "no route" in texts(page)
    page.run()
    assert not page.error


def test_the_history_of_a_subject_is_read_when_it_is_opened(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "partial", "fast", TESTER)
    wait_for_end(connection, operation_id)
    asked: list[Query] = []
    real = ProgressConnection.recent

    def recent(self: ProgressConnection, query: Query) -> Sequence[Any]:
        asked.append(query)
        return real(self, query)

    monkeypatch.setattr(ProgressConnection, "recent", recent)
    page = open_page()
    page.selectbox(key="subject").set_value("fast").run()
    assert len(asked) == 1, "only what the viewer may want to follow"
    page.session_state["history"] = True
    page.run()
    assert asked[-1] == Query(TESTER, subject="fast", limit=5)
    entry = page.button(key=f"history-{operation_id}")
    assert entry.label.startswith("Partial\\, ")
    page.session_state["history"] = True  # some versions of AppTest forget what is open
    entry.click().run()
    assert page.warning[0].value.startswith("Partly completed")
    assert page.button(key=f"history-{operation_id}").disabled

    def fail(self: ProgressConnection, query: Query) -> Sequence[Any]:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(ProgressConnection, "recent", fail)
    page.session_state["history"] = True
    page.run()
    assert page.warning[1].value == "The history cannot be read now."


def open_board(entries: list[Entry]) -> AppTest:
    """Open another page than the one that draws outcomes, in a session that tracks these."""
    page = open_page()
    page.session_state[tracking._ENTRIES] = entries
    return switch_page(page, "board")


def toasts(page: AppTest) -> list[str]:
    return [toast.value for toast in page.toast]


def test_the_toast_of_an_operation_that_disappeared_says_unknown(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "fail", "fast", TESTER)
    seen = wait_for_end(connection, operation_id)
    monkeypatch.setattr(ProgressConnection, "read", lambda self, ids: {})
    page = open_board([Entry(operation_id, "fail", "fast", operation=seen)])
    assert toasts(page) == [r"Fail\: fast · Unknown"]
    assert not is_polling(page, "notices")


def test_the_text_of_a_toast_is_not_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "TOAST_SECONDS", 1000.0)
    page = open_board([Entry("a" * 32, "*load*", ":red[x] `y`", ended=True)])
    assert toasts(page) == [r"\*load\*\: \:red\[x\] \`y\` · Unknown"]
    assert page.run().toast, "the browser may not have shown it yet"
    monkeypatch.setattr(tracking, "TOAST_SECONDS", 0)
    page.run()
    assert not page.run().toast


def test_a_toast_that_a_click_interrupts_is_shown_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = [
        Entry("a" * 32, "fail", "fast", ended=True),
        Entry("b" * 32, "fail", "slow", ended=True, toast_until=0),
    ]
    with monkeypatch.context() as patched:
        patched.setattr("streamlit.toast", lambda *args, **options: st.stop())
        page = open_board(ended)
        assert not page.toast
    page.run()
    assert toasts(page) == [r"Fail\: fast · Unknown"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Page("reports", "Reports", "monitoring"), "reports.py"),
        (Page("board", "Board", "no_such_icon"), "no_such_icon"),
    ],
)
def test_a_page_that_cannot_be_shown_is_named(
    monkeypatch: pytest.MonkeyPatch, entry: Page, said: str
) -> None:
    pages = (*resources.SETTINGS.pages[:1], entry)
    monkeypatch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, pages=pages))
    page = open_page()
    assert page.error[0].value == "A page in settings.toml cannot be shown:"
    assert said in texts(page)[0]


def test_an_owner_starts_no_more_than_the_limit(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An owner of this test only.
    monkeypatch.setattr("streamlit.user_info._get_user_info", lambda: {"user_name": "LIMITED"})
    settings = replace(resources.SETTINGS, max_active=2)
    monkeypatch.setattr(resources, "SETTINGS", settings)
    page = open_page()
    connection.start(new_operation_id(), "succeed", "fast", "somebody else")
    start(page, "endless", "fast")
    page.selectbox(key="subject").set_value("slow").run()
    start(page, "endless", "slow")
    assert len(running(page)) == 2
    page.selectbox(key="job").set_value("succeed").run()
    start(page, "succeed", "fast")
    assert [error.value for error in page.error] == [
        "You have 2 active operations: at most 2 at a time. Wait, or cancel some."
    ]
    assert len(running(page)) == 2
    end_all(page)
    start(page, "succeed", "fast")
    run_until(page, lambda page: bool(page.success))


@pytest.mark.parametrize("text", ["a b", "x" * 201, "a/b", "é", "<b>", "a\nb"])
def test_what_is_no_id_in_the_url_is_not_read(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = ProgressConnection.read

    def note(self: ProgressConnection, ids: Sequence[str]) -> Mapping[str, Operation]:
        read.extend(ids)
        return original(self, ids)

    monkeypatch.setattr(ProgressConnection, "read", note)
    page = open_page(operation=[text, "1" * 32])
    assert page.error[0].value == "The address names an invalid operation id:"
    assert ids_in_url(page) == ["1" * 32]
    assert set(read) == {"1" * 32}


def test_an_empty_id_in_the_url_is_none() -> None:
    page = open_page(operation="")
    assert not page.error
    assert not page.warning
    assert not entries(page)
    assert "operation" not in page.query_params
