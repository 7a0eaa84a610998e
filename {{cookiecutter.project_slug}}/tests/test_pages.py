"""The pages without a browser. Fragments run inline here and have no timer."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from progress.session import live, tracking
from progress.settings import ROOT
from progress.text import truncate
from tests.conftest import wait_for_end, wait_until

# Streamlit's AppTest is logged in as this user.
TESTER = "test@example.com"


@pytest.fixture(autouse=True)
def shared_objects(environment: dict[str, str]) -> Iterator[None]:
    """Every test has a poller and a connection of its own."""
    yield
    live.backend().reset()
    st.cache_resource.clear()


def open_page(name: str, **query: str | list[str]) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app_pages" / f"{name}.py"), default_timeout=30)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def run_until(page: AppTest, condition: Callable[[AppTest], bool]) -> AppTest:
    deadline = time.monotonic() + 30
    while not condition(page):
        assert time.monotonic() < deadline, page
        time.sleep(0.1)
        page.run()
        assert not page.exception
    return page


def texts(page: AppTest) -> list[Any]:
    return [element.value for element in page.text]


def shown(page: AppTest) -> str:
    """Return the steps that are drawn."""
    return "".join(element.proto.body for element in page.get("html"))


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def followed(page: AppTest) -> list[tracking.Followed]:
    ones: list[tracking.Followed] = page.session_state[tracking._FOLLOWED]
    return ones


def watched(page: AppTest) -> list[str]:
    return [one.operation_id for one in followed(page) if not one.ended]


def in_url(page: AppTest) -> list[str]:
    ids = page.query_params["operation"]
    return [ids] if isinstance(ids, str) else ids


def end_all(page: AppTest) -> None:
    """Leave no job behind."""
    for operation_id in watched(page):
        live.backend().cancel(operation_id)
    run_until(page, lambda page: not watched(page))


def start(page: AppTest, job: str, subject: str = "fast") -> AppTest:
    page.selectbox(key="job").set_value(job)
    page.selectbox(key="subject").set_value(subject)
    page.button(key="start").click().run()
    assert not page.exception
    return page


def test_start_follow_and_end() -> None:
    page = start(open_page("run"), "succeed", "slow")
    assert page.button(key="start").disabled
    assert page.query_params["operation"]
    run_until(page, lambda page: bool(page.success))
    assert page.success[0].value.startswith("Completed: 6 of 6 steps in")
    assert not page.button(key="start").disabled
    assert page.metric[0].value == "6"
    assert "All well." in texts(page)
    assert not watched(page)
    assert not any(one.tell_until for one in followed(page)), "no toast tells of it again"


def test_two_starts_side_by_side_are_one(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("run")
    started = ProgressConnection.start
    ids = []

    def start_twice(self: ProgressConnection, operation_id: str, *others: str) -> None:
        ids.append(operation_id)
        if len(ids) == 1:
            live.start("succeed", "fast")  # the other half of a double click, in its thread
        started(self, operation_id, *others)

    monkeypatch.setattr(ProgressConnection, "start", start_twice)
    start(page, "succeed")
    assert len(ids) == 2
    assert [ids[0]] == [ids[1]] == [one.operation_id for one in followed(page)]
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


@pytest.mark.parametrize(
    ("script", "fragments"),
    [
        ("streamlit_app.py", 2),
        ("app_pages/run.py", 1),
        ("app_pages/board.py", 1),
        ("app_pages/feed.py", 1),
    ],
)
def test_pages_that_open_in_a_crowd_ask_less_often(
    script: str, fragments: int, intervals: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = AppTest.from_file(str(ROOT / script), default_timeout=30).run()
    intervals.clear()
    monkeypatch.setattr("progress.adaptive_interval.interval", lambda wanted: 10 * wanted)
    assert not page.run().exception
    assert intervals == [10 * live.SETTINGS.poll_interval] * fragments


@pytest.mark.parametrize("name", ["run", "board", "feed"])
def test_a_page_begins_anew_when_the_crowd_has_gone(
    name: str, intervals: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(open_page("run"), "endless", "slow")
    page = open_page(name, operation=in_url(first))
    intervals.clear()
    factors = iter([10])
    monkeypatch.setattr(
        "progress.adaptive_interval.interval", lambda wanted: next(factors, 1) * wanted
    )
    monkeypatch.setattr("progress.adaptive_interval._rerun_at", -1.0)
    assert not page.run().exception
    assert intervals == [10 * live.SETTINGS.poll_interval, live.SETTINGS.poll_interval]
    end_all(first)


def test_every_tick_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[None] = []
    monkeypatch.setattr("progress.adaptive_interval.count_tick", lambda: ticks.append(None))
    page = open_page("run")
    assert not ticks, "nothing polls"
    page = start(page, "endless", "slow")
    assert len(ticks) == 1
    page.run()
    assert len(ticks) == 2
    end_all(page)


def test_a_failure_shows_its_last_line_and_the_traceback() -> None:
    page = run_until(start(open_page("run"), "fail"), lambda page: bool(page.error))
    assert page.error[0].value.startswith("Failed after 2 of 6 steps")
    assert page.code[0].value == "RuntimeError: the **third** step broke :red[badly]"
    assert "Traceback" in [expander.label for expander in page.expander]
    assert page.code[1].value.startswith("Traceback (most recent call last):")


def test_cancel_is_shown_as_cancelling_until_it_is_acknowledged() -> None:
    page = start(open_page("run"), "endless", "slow")
    page.button(key="cancel").click().run()
    if not is_cancelled(page):  # a backend that can end a job in the middle of a step may be quick
        assert page.button(key="cancel").disabled
        assert page.button(key="cancel").label == "Cancelling"
    run_until(page, is_cancelled)


def is_cancelled(page: AppTest) -> bool:
    return bool(page.info) and str(page.info[0].value).startswith("Cancelled")


def test_a_cancel_that_somebody_asked_for_elsewhere_is_shown_on_the_button(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "slow", TESTER)
    found = wait_until(connection, operation_id, lambda one: one.current_step > 0)
    asked = {operation_id: replace(found, cancel_requested=True)}
    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "read", lambda self, ids: asked)
        page = open_page("run", operation=operation_id)
        assert page.button(key="cancel").label == "Cancelling"
        assert page.button(key="cancel").disabled
    end_all(page)


def test_what_vanishes_while_it_runs_is_unknown_and_not_failed(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = start(open_page("run"), "endless", "slow")
    (operation_id,) = watched(page)
    run_until(page, lambda page: "Round" in shown(page))
    with monkeypatch.context() as patch:
        patch.setattr(ProgressConnection, "read", lambda self, ids: {})
        run_until(page, lambda page: not watched(page))
    assert page.warning[0].value.startswith("There is no operation with this id")
    assert "endless: slow" in texts(page)
    assert not page.error
    assert "Retry" not in labels(page)
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


@pytest.mark.parametrize("name", [new_operation_id(), "x' OR '1'='1", "<b>*no*</b>", "ü" * 5000])
def test_an_unknown_id_in_the_url_is_a_plain_message(name: str) -> None:
    page = open_page("run", operation=name)
    assert page.warning[0].value.startswith("There is no operation with this id")
    assert texts(page) == [truncate(name, 200)]
    assert not page.button(key="start").disabled


def test_an_operation_of_another_owner_reads_as_unknown(connection: ProgressConnection) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "endless", "slow", "other@example.com")
    wait_until(connection, operation_id, lambda operation: operation.current_step > 0)
    page = open_page("run", operation=operation_id)
    assert page.warning[0].value.startswith("There is no operation with this id")
    connection.cancel(operation_id)
    wait_for_end(connection, operation_id)


def test_in_a_shared_app_everybody_sees_all_operations(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "fast", "other@example.com")
    wait_for_end(connection, operation_id)
    monkeypatch.setattr(live, "SETTINGS", replace(live.SETTINGS, shared=True))
    page = open_page("run", operation=operation_id)
    assert page.success[0].value.startswith("Completed")
    assert "other@example.com" in {row.owner for row in connection.recent(Query(None))}
    assert "other@example.com" in set(open_page("board").dataframe[0].value["Owner"])


def test_an_operation_of_another_owner_cannot_be_cancelled(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "slow", "other@example.com")
    with monkeypatch.context() as patch:
        # Before the first news the page cannot know whose it is.
        patch.setattr(Poller, "read_all", lambda self, keys: {key: Snapshot() for key in keys})
        page = open_page("run", operation=operation_id)
        page.button(key="cancel").click().run()
        assert not followed(page)[0].cancelling
    monkeypatch.setattr(live, "SETTINGS", replace(live.SETTINGS, shared=True))
    page = open_page("run", operation=operation_id)
    run_until(page, lambda page: "Step number" in shown(page))
    assert "Cancel" not in labels(page)
    assert wait_for_end(connection, operation_id).status == "completed"


def test_a_page_that_nobody_touches_stops_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page("run"), "endless", "slow")
    with monkeypatch.context() as patch:
        patch.setattr(live, "SETTINGS", replace(live.SETTINGS, idle_budget=0.0))
        page.run()
        assert page.info[0].value.startswith("Nobody touched this page for")
        assert "Resume" in labels(page)
        assert watched(page)
    page.button(key="resume").click().run()
    assert not page.info
    end_all(page)


def paused(page: AppTest) -> bool:
    return "Resume" in labels(page)


@pytest.mark.parametrize("what", ["start", "retry", "history", "cancel"])
def test_who_presses_a_button_of_a_paused_page_sees_what_comes_of_it(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "fail", "fast", TESTER)
    wait_for_end(connection, operation_id)
    page = open_page("run", operation=operation_id)
    page.selectbox(key="subject").set_value("fast")
    page.session_state["history"] = True
    start(page, "endless")
    with monkeypatch.context() as patch:
        patch.setattr(live, "SETTINGS", replace(live.SETTINGS, idle_budget=0.0))
        page.session_state["history"] = True
        page.run()
    page.session_state["history"] = True
    page.run()
    assert paused(page), "a full run is not yet somebody who comes back"
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


def test_a_start_that_fails_says_so_and_keeps_its_id_for_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids: list[str] = []

    def refuse(self: ProgressConnection, operation_id: str, *rest: str) -> None:
        ids.append(operation_id)
        raise BackendUnavailable("no *route* to it")

    page = open_page("run")
    monkeypatch.setattr(ProgressConnection, "start", refuse)
    for _ in range(2):
        start(page, "succeed")
        assert page.error[0].value == "The operation could not be started. Try again."
        assert "no *route* to it" in texts(page)
        assert not page.button(key="start").disabled
    start(page, "fail")
    assert ids[0] == ids[1] != ids[2]
    assert "operation" not in page.query_params


def test_a_backend_that_is_away_is_shown_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page("run"), "endless", "slow")
    run_until(page, lambda page: "Round" in shown(page))
    with monkeypatch.context() as patch:

        def fail(self: ProgressConnection, ids: list[str]) -> None:
            raise BackendUnavailable("no route")

        patch.setattr(ProgressConnection, "read", fail)
        run_until(page, lambda page: bool(page.warning))
        assert page.warning[0].value.startswith("The progress cannot be read just now.")
        assert "Round" in shown(page), "what was known stays"
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
    page = open_page("run", operation=operation_id)
    assert page.success[0].value.startswith("Completed")


def test_a_start_whose_answer_was_lost_is_not_in_the_way_of_the_next_one(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ProgressConnection.start

    def lose_the_answer(self: ProgressConnection, *arguments: str) -> None:
        real(self, *arguments)
        raise BackendUnavailable("no route")

    page = open_page("run")
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
    context.script_requests.request_rerun(RerunData(page_script_hash=context.page_script_hash))


@pytest.mark.parametrize("old_job", ["", "fail"])
def test_a_click_during_a_start_loses_nothing(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch, old_job: str
) -> None:
    page = open_page("run")
    if old_job:
        page = run_until(start(page, old_job), lambda page: bool(page.error))
    real = ProgressConnection.start

    def start_while_clicked_on(self: ProgressConnection, *arguments: str) -> None:
        real(self, *arguments)
        click_on()

    monkeypatch.setattr(ProgressConnection, "start", start_while_clicked_on)
    if old_job:
        old = followed(page)[0].operation_id
        page.button(key=f"retry-{old}").click().run()
    else:
        start(page, "endless", "slow")
    page.run()
    assert [one.operation_id for one in followed(page)] == in_url(page)
    assert in_url(page) == [connection.recent(Query(TESTER))[0].operation_id]
    monkeypatch.undo()
    end_all(page)


def test_a_click_during_a_cancel_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page("run"), "endless", "slow")
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


def test_several_operations_end_one_by_one() -> None:
    page = start(open_page("run"), "endless", "slow")
    (endless,) = watched(page)
    page.selectbox(key="job").set_value("succeed").run()
    assert not page.button(key="start").disabled
    start(page, "succeed", "slow")
    succeed, other = watched(page)
    assert other == endless
    assert in_url(page) == [succeed, endless]
    assert page.button(key=f"cancel-{endless}").label == "Cancel"
    assert page.button(key="start").disabled
    assert "This job is at work on this subject: see below." in [c.value for c in page.caption]
    run_until(page, lambda page: bool(page.success))
    assert watched(page) == [endless]
    assert in_url(page) == [succeed, endless]
    assert not page.button(key="start").disabled
    page.button(key="cancel").click().run()
    run_until(page, lambda page: not watched(page))
    assert page.success
    assert page.info[0].value.startswith("Cancelled")


def test_ids_in_the_url_are_followed_in_their_order(connection: ProgressConnection) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id, job in zip(ids, ("succeed", "endless", "fail"), strict=True):
        connection.start(operation_id, job, "slow" if job == "endless" else "fast", TESTER)
    wait_for_end(connection, ids[0])
    wait_for_end(connection, ids[2])
    page = open_page("run", operation=[*ids, ids[0]])
    assert [one.operation_id for one in followed(page)] == ids
    assert watched(page) == [ids[1]]
    assert in_url(page) == ids
    page.selectbox(key="job").set_value("endless")
    page.selectbox(key="subject").set_value("slow").run()
    assert page.button(key="start").disabled, "what the URL brought is known to be at work"
    # A link to another one, as the board gives it, is followed besides the rest.
    page.query_params["operation"] = [other := new_operation_id()]
    page.run()
    assert in_url(page) == [other, *ids]
    end_all(page)


def test_a_session_follows_so_many_and_no_more(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "MOST", 2)
    ids = [new_operation_id() for _ in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "endless", "slow", TESTER)
    page = open_page("run", operation=ids)
    assert watched(page) == ids[:2]
    assert page.error[0].value == "This page follows at most 2 operations at once. Left out:"
    assert ids[2] in texts(page)
    assert page.button(key="start").disabled
    assert any(caption.value.startswith("This page follows 2") for caption in page.caption)
    page.run()
    assert not page.error, "it is said once"
    page.button(key=f"unwatch-{ids[0]}").click().run()
    assert watched(page) == [ids[1]]
    assert in_url(page) == [ids[1]]
    assert not page.button(key="start").disabled
    assert not connection.read([ids[0]])[ids[0]].cancel_requested, "it goes on"
    for operation_id in ids:
        connection.cancel(operation_id)
    end_all(page)


def test_the_oldest_outcome_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "MOST", 2)
    page = open_page("run")
    for job in ("succeed", "partial", "fail"):
        run_until(start(page, job), lambda page: not watched(page))
    assert [one.job for one in followed(page)] == ["fail", "partial"]
    assert in_url(page) == [one.operation_id for one in followed(page)]


def test_an_outcome_can_be_dismissed() -> None:
    page = run_until(start(open_page("run"), "succeed"), lambda page: bool(page.success))
    (one,) = followed(page)
    page.button(key=f"dismiss-{one.operation_id}").click().run()
    assert not page.success
    assert "operation" not in page.query_params


def test_what_was_dismissed_does_not_come_back_from_a_url_of_before(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [new_operation_id() for _ in range(3)]
    for operation_id in ids:
        connection.start(operation_id, "succeed", "fast", TESTER)
        wait_for_end(connection, operation_id)
    page = open_page("run", operation=ids)
    for operation_id in ids[:2]:
        page.button(key=f"dismiss-{operation_id}").click().run()
        # The browser has not heard of it yet, and runs the page again: a double click, a choice.
        page.query_params["operation"] = ids
        page.run()
    assert [one.operation_id for one in followed(page)] == ids[2:]
    assert in_url(page) == ids[2:]
    page.session_state["page"] = "board"
    page.query_params["operation"] = ids[0]
    page.run()
    assert in_url(page) == [ids[0], ids[2]], "a link from another page is meant"
    page.button(key=f"dismiss-{ids[0]}").click().run()
    monkeypatch.setattr(tracking, "URL_LAG", 0.0)
    page.query_params["operation"] = ids[0]
    page.run()
    assert in_url(page) == [ids[0], ids[2]], "and so is one that comes later"


def test_what_made_room_does_not_come_back_from_a_url_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "MOST", 2)
    page = open_page("run")
    for job in ("succeed", "partial"):
        run_until(start(page, job), lambda page: not watched(page))
    before = in_url(page)
    start(page, "fail")
    after = in_url(page)
    page.query_params["operation"] = before
    page.run()
    assert in_url(page) == after


def test_the_second_half_of_a_double_click_may_come_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = run_until(start(open_page("run"), "succeed"), lambda page: bool(page.success))
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "DOUBLE_CLICK", 1000.0)
        page.button(key="start").click().run()
        assert len(followed(page)) == 1
        assert not page.error
        run_until(start(page, "partial"), lambda page: bool(page.warning))
        assert len(followed(page)) == 2, "another job is another click"
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    run_until(start(page, "succeed"), lambda page: len(page.success) == 2)


def test_a_failed_operation_is_retried_in_its_place(connection: ProgressConnection) -> None:
    page = run_until(start(open_page("run"), "fail"), lambda page: bool(page.error))
    (old,) = followed(page)
    page.button(key=f"retry-{old.operation_id}").click().run()
    run_until(page, lambda page: bool(page.error))
    (new,) = followed(page)
    assert new.operation_id != old.operation_id
    assert connection.read([new.operation_id])[new.operation_id].retry_of == old.operation_id
    assert f"Retry of {old.operation_id[:8]}" in labels(page)
    page.button(key=f"origin-{new.operation_id}").click().run()
    assert [one.operation_id for one in followed(page)] == [old.operation_id, new.operation_id]
    assert len(page.error) == 2
    assert page.button(key=f"origin-{new.operation_id}").disabled


def test_a_completed_operation_is_not_retried() -> None:
    page = run_until(start(open_page("run"), "succeed"), lambda page: bool(page.success))
    assert "Retry" not in labels(page)


def test_a_retry_that_fails_keeps_the_outcome(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = run_until(start(open_page("run"), "fail"), lambda page: bool(page.error))
    (old,) = followed(page)

    def refuse(self: ProgressConnection, *arguments: str) -> None:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(ProgressConnection, "start", refuse)
    page.button(key=f"retry-{old.operation_id}").click().run()
    assert page.error[0].value == "The operation could not be started. Try again."
    assert followed(page) == [old]
    assert not page.button(key=f"retry-{old.operation_id}").disabled


def test_a_retry_takes_no_place_but_that_of_what_it_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "MOST", 2)
    page = open_page("run")
    for job in ("fail", "partial"):
        run_until(start(page, job), lambda page: not watched(page))
    outcomes = in_url(page)
    retry = f"retry-{outcomes[0]}"
    with monkeypatch.context() as patch:

        def refuse(self: ProgressConnection, *arguments: str) -> None:
            raise BackendUnavailable("no route")

        patch.setattr(ProgressConnection, "start", refuse)
        page.button(key=retry).click().run()
        assert in_url(page) == outcomes, "nothing is lost"
    page.button(key=retry).click().run()
    assert len(followed(page)) == 2
    assert in_url(page)[1] == outcomes[1]
    run_until(page, lambda page: not watched(page))


def test_a_retry_is_of_the_whole_subject_however_long(connection: ProgressConnection) -> None:
    operation_id, subject = new_operation_id(), "long *subject* " * 100
    connection.start(operation_id, "fail", subject, TESTER)
    wait_for_end(connection, operation_id)
    page = open_page("run", operation=operation_id)
    assert texts(page)[0].startswith("fail: long *subject*")
    assert len(texts(page)[0]) == 200
    page.button(key=f"retry-{operation_id}").click().run()
    run_until(page, lambda page: not watched(page))
    assert [one.subject for one in followed(page)] == [subject]
    assert len(connection.recent(Query(TESTER, subject=subject))) == 2


def test_in_a_shared_app_a_retry_is_the_operation_of_who_asked_for_it(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "fail", "fast", "other@example.com")
    before = wait_for_end(connection, operation_id)
    monkeypatch.setattr(live, "SETTINGS", replace(live.SETTINGS, shared=True))
    page = open_page("run", operation=operation_id)
    page.button(key=f"retry-{operation_id}").click().run()
    (new,) = followed(page)
    assert "Cancel" in labels(page) or new.ended
    found = wait_for_end(connection, new.operation_id)
    assert (found.owner, found.retry_of) == (TESTER, operation_id)
    assert connection.read([operation_id])[operation_id].status is before.status


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
    page = open_page("run")
    page.selectbox(key="subject").set_value("fast").run()
    assert not asked
    page.session_state["history"] = True
    page.run()
    assert asked[-1] == Query(TESTER, subject="fast", limit=5)
    entry = page.button(key=f"history-{operation_id}")
    assert entry.label.startswith("partial\\, ")
    page.session_state["history"] = True  # some versions of AppTest forget what is open
    entry.click().run()
    assert page.warning[0].value.startswith("Partly completed")
    assert page.button(key=f"history-{operation_id}").disabled

    def fail(self: ProgressConnection, query: Query) -> Sequence[Any]:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(ProgressConnection, "recent", fail)
    page.session_state["history"] = True
    page.run()
    assert page.warning[1].value == "The history cannot be read just now."


def test_the_toast_of_what_vanished_says_unknown(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_page() -> None:
        import streamlit as st

        from progress.session import live, tracking

        live.show_notices("other")
        if ended := live.ended(live.look()):
            tracking.settle(ended)
            st.rerun()

    operation_id = new_operation_id()
    connection.start(operation_id, "fail", "fast", TESTER)
    seen = wait_for_end(connection, operation_id)
    monkeypatch.setattr(ProgressConnection, "read", lambda self, ids: {})
    page = AppTest.from_function(other_page, default_timeout=30)
    one = tracking.Followed(operation_id, "fail", "fast", operation=seen)
    page.session_state[tracking._FOLLOWED] = [one]
    page.run()
    assert not page.exception
    assert [toast.value for toast in page.toast] == [r"fail\: fast: unknown"]


def test_the_text_of_a_toast_is_not_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    def other_page() -> None:
        from progress.session import live

        live.show_notices("other")

    page = AppTest.from_function(other_page, default_timeout=30)
    one = tracking.Followed("a" * 32, "*load*", ":red[x] `y`", ended=True)
    page.session_state[tracking._FOLLOWED] = [one]
    page.run()
    assert not page.exception
    assert page.toast[0].value == r"\*load\*\: \:red\[x\] \`y\`: unknown"
    assert page.run().toast, "the browser may not have shown it yet"
    monkeypatch.setattr(live, "TELL_FOR", 0)
    page.run()
    assert not page.run().toast


def test_a_toast_that_a_click_interrupts_is_shown_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def other_page() -> None:
        from progress.session import live

        live.show_notices("other")

    page = AppTest.from_function(other_page, default_timeout=30)
    page.session_state[tracking._FOLLOWED] = [
        tracking.Followed("a" * 32, "fail", "fast", ended=True),
        tracking.Followed("b" * 32, "fail", "slow", ended=True, tell_until=0),
    ]
    with monkeypatch.context() as patched:
        patched.setattr("streamlit.toast", lambda *args, **options: st.stop())
        assert not page.run().toast
    assert [toast.value for toast in page.run().toast] == [r"fail\: fast: unknown"]
