"""The pages without a browser. Fragments run inline here and have no timer."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from progress import live
from progress.backend import ProgressConnection
from progress.errors import BackendUnavailable
from progress.operation import Query, new_operation_id
from progress.settings import ROOT
from tests.conftest import wait_for_end, wait_until

# Streamlit's AppTest is logged in as this user.
TESTER = "test@example.com"


@pytest.fixture(autouse=True)
def shared_objects(environment: dict[str, str]) -> Iterator[None]:
    """Every test has a poller and a connection of its own."""
    yield
    live.backend().reset()
    st.cache_resource.clear()


def open_page(name: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "views" / f"{name}.py"), default_timeout=30)
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
    assert live._WATCHED not in page.session_state


def test_a_failure_shows_its_last_line_and_the_traceback() -> None:
    page = run_until(start(open_page("run"), "fail"), lambda page: bool(page.error))
    assert page.error[0].value.startswith("Failed after 2 of 6 steps")
    assert page.code[0].value == "RuntimeError: the **third** step broke :red[badly]"
    assert page.expander[0].label == "Traceback"
    assert page.code[1].value.startswith("Traceback (most recent call last):")


def test_cancel_is_shown_as_cancelling_until_it_is_acknowledged() -> None:
    page = start(open_page("run"), "endless", "slow")
    page.button(key="cancel").click().run()
    assert page.button(key="cancel").disabled
    assert page.button(key="cancel").label == "Cancelling"
    run_until(page, lambda page: bool(page.info) and page.info[0].value.startswith("Cancelled"))


@pytest.mark.parametrize("name", [new_operation_id(), "x' OR '1'='1", "<b>*no*</b>", "ü" * 5000])
def test_an_unknown_id_in_the_url_is_a_plain_message(name: str) -> None:
    page = open_page("run", operation=name)
    assert page.warning[0].value.startswith("There is no operation with this id")
    assert texts(page) == [name[:200]]
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


@pytest.mark.parametrize("shared", [False, True])
def test_an_operation_of_another_owner_cannot_be_cancelled(
    connection: ProgressConnection, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setattr(live, "SETTINGS", replace(live.SETTINGS, shared=shared))
    operation_id = new_operation_id()
    connection.start(operation_id, "succeed", "slow", "other@example.com")
    page = start(open_page("run"), "endless", "slow")
    own = page.session_state[live._WATCHED]
    page.session_state[live._WATCHED] = operation_id
    page.button(key="cancel").click().run()
    assert wait_for_end(connection, operation_id).status == "completed"
    connection.cancel(own)
    wait_for_end(connection, own)


def test_a_page_that_nobody_touches_stops_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    page = start(open_page("run"), "endless", "slow")
    with monkeypatch.context() as patch:
        patch.setattr(live, "SETTINGS", replace(live.SETTINGS, idle_budget=0.0))
        page.run()
        assert page.info[0].value.startswith("Nobody touched this page for")
        assert "Resume" in [button.label for button in page.button]
        assert live._WATCHED in page.session_state
    page.button(key="resume").click().run()
    assert not page.info
    page.button(key="cancel").click().run()
    run_until(page, lambda page: live._WATCHED not in page.session_state)


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
    run_until(page, lambda page: any(text.startswith("Round") for text in texts(page)))
    with monkeypatch.context() as patch:

        def fail(self: ProgressConnection, ids: list[str]) -> None:
            raise BackendUnavailable("no route")

        patch.setattr(ProgressConnection, "read", fail)
        run_until(page, lambda page: bool(page.warning))
        assert page.warning[0].value.startswith("The progress cannot be read just now.")
        assert any(text.startswith("Round") for text in texts(page)), "what was known stays"
        assert not page.error
    run_until(page, lambda page: not page.warning)
    page.button(key="cancel").click().run()
    run_until(page, lambda page: live._WATCHED not in page.session_state)


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
    run_until(page, lambda page: bool(page.success))
    assert connection.recent(Query(TESTER))[0].operation_id != arrived
