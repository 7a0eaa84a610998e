"""The board and the live feed, without a browser: filters, pages, empty states, what ends them."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from progress.backend.connection import ProgressConnection
from progress.contract import BackendUnavailable
from progress.operation import Operation, Query, Status
from progress.rows import count_statuses
from progress.session import resources, tracking
from progress.ui import overview
from progress.ui.formats import format_duration
from tests.pages import (
    TESTER,
    click,
    figures,
    is_polling,
    markup,
    open_page,
    run_until,
    switch_page,
)

NOW = datetime.now(UTC)
PAGE = 50


pytestmark = pytest.mark.usefixtures("fresh_app")


class Store:
    """Operations in memory, in the place of the backend, and the queries that came."""

    is_available = True

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.queries: list[Query] = []
        self.is_interrupted = False

    def put(self, number: int, status: Status = Status.COMPLETED, **others: Any) -> None:
        self.operations = [one for one in self.operations if one.operation_id != str(number)]
        usual = {"job": "succeed", "subject": f"{number:04}", "owner": TESTER}
        others = usual | {"total_steps": 4, "current_step": 1} | others
        self.operations.append(
            Operation(
                operation_id=str(number),
                status=status,
                created_at=NOW - timedelta(minutes=number),
                read_at=NOW,
                **others,
            )
        )
        self.operations.sort(key=lambda operation: operation.created_at, reverse=True)

    def matching(self, query: Query) -> list[Operation]:
        return [
            operation
            for operation in self.operations
            if query.owner in (None, operation.owner)
            and query.job in (None, operation.job)
            and (not query.statuses or operation.status in query.statuses)
            and (query.since is None or operation.created_at >= query.since)
        ]

    def recent(self, query: Query) -> list[Operation]:
        self.queries.append(query)
        if self.is_interrupted:
            st.stop()
        found = self.matching(query)
        if query.before is not None:
            found = [one for one in found if (one.created_at, one.operation_id) < query.before]
        return found[: query.limit]

    def counts(self, query: Query) -> dict[Status, int]:
        if not self.is_available:
            raise BackendUnavailable("no *route* to it")
        return count_statuses((operation.status, 1) for operation in self.matching(query))

    def read(self, operation_ids: Sequence[str]) -> dict[str, Operation]:
        return {
            one.operation_id: one for one in self.operations if one.operation_id in operation_ids
        }


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that the page takes for the backend."""
    fake = Store()
    monkeypatch.setattr(ProgressConnection, "recent", lambda self, query: fake.recent(query))
    monkeypatch.setattr(ProgressConnection, "counts", lambda self, query: fake.counts(query))
    monkeypatch.setattr(ProgressConnection, "read", lambda self, ids: fake.read(ids))
    return fake


def subjects(page: AppTest) -> list[str]:
    return list(page.dataframe[0].value["Subject"])


def test_an_empty_board_says_what_to_do(store: Store) -> None:
    page = open_page("board")
    assert page.info[0].value == "There is no operation yet."
    assert page.button(key="start_one").label == "Start an operation"
    assert set(figures(page).values()) == {"0"}
    assert not is_polling(page, "board")


def test_each_filter_narrows_the_history(store: Store) -> None:
    store.put(1)
    store.put(2, Status.FAILED)
    store.put(3, job="fail")
    store.put(2 * 24 * 60)
    page = open_page("board")
    assert subjects(page) == ["0001", "0002", "0003", "2880"]
    page.selectbox(key="filter_since").set_value("Last hour").run()
    assert subjects(page) == ["0001", "0002", "0003"]
    page.selectbox(key="filter_job").set_value("succeed").run()
    assert subjects(page) == ["0001", "0002"]
    page.multiselect(key="filter_status").set_value([Status.FAILED, Status.PARTIAL]).run()
    assert subjects(page) == ["0002"]
    page.multiselect(key="filter_status").set_value([Status.CANCELLED]).run()
    assert page.info[0].value == "No operation matches these filters."
    click(page, "clear")
    assert subjects(page) == ["0001", "0002", "0003", "2880"]
    assert page.selectbox(key="filter_job").value is None
    assert store.queries[-1] == Query(TESTER, limit=PAGE + 1)


def test_only_a_shared_app_offers_the_owners(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(1)
    store.put(2, owner="other@example.com")
    page = open_page("board")
    assert subjects(page) == ["0001"]
    assert [box.key for box in page.selectbox] == ["filter_job", "filter_since"]
    assert figures(page)["Completed"] == "1"
    st.cache_resource.clear()
    monkeypatch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, shared=True))
    page = open_page("board")
    assert subjects(page) == ["0001", "0002"]
    assert list(page.dataframe[0].value["Owner"]) == [TESTER, "other@example.com"]
    assert figures(page)["Completed"] == "2"
    page.selectbox(key="filter_owner").set_value(TESTER).run()
    assert subjects(page) == ["0001"]


def test_the_history_has_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    for number in range(1, 2 * PAGE + 21):
        store.put(number)
    page = open_page("board")
    assert subjects(page) == [f"{number:04}" for number in range(1, PAGE + 1)]
    assert page.button(key="newer").disabled
    click(page, "older")
    assert subjects(page) == [f"{number:04}" for number in range(PAGE + 1, 2 * PAGE + 1)]
    click(page, "older")
    assert subjects(page) == [f"{number:04}" for number in range(2 * PAGE + 1, 2 * PAGE + 21)]
    assert page.button(key="older").disabled
    click(page, "newer")
    assert subjects(page)[0] == f"{PAGE + 1:04}"
    page.selectbox(key="filter_job").set_value("succeed").run()
    assert subjects(page)[0] == "0001", "a filter begins at the first page"
    assert page.button(key="newer").disabled


@pytest.mark.parametrize("key", ["older", "newer"])
def test_a_double_click_turns_one_page(
    store: Store, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    for number in range(1, 5 * PAGE + 1):
        store.put(number)
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 0.0)
    page = click(click(open_page("board"), "older"), "older")
    page.session_state[tracking._CLICKED_AT] = -float("inf")
    monkeypatch.setattr(tracking, "DOUBLE_CLICK", 1000.0)
    store.is_interrupted = True  # the second click ends the run of the first
    drawn = page._tree
    click(page, key)
    store.is_interrupted = False
    page._tree = drawn  # its button is still pressed
    page.run()
    assert not page.exception
    click(page, key)  # or it comes when the page is drawn again, with another button in that place
    turned = 1 if key == "newer" else 3
    assert subjects(page)[0] == f"{turned * PAGE + 1:04}"
    assert len(page.session_state["history_pages"]) == turned


def test_a_page_that_is_exactly_full_is_the_last(store: Store) -> None:
    for number in range(PAGE):
        store.put(number)
    assert open_page("board").button(key="older").disabled


def test_active_operations_have_bars(store: Store) -> None:
    for number in range(25):
        store.put(number, Status.IN_PROGRESS, started_at=NOW - timedelta(seconds=9))
    store.put(0, Status.QUEUED, job="*bold*")
    page = open_page("board")
    assert is_polling(page, "board")
    assert figures(page) | {"In progress": "24", "Queued": "1"} == figures(page)
    assert markup(page).count('role="progressbar"') == 20
    assert "and 5 more" in markup(page)


def test_an_operation_without_steps_is_in_progress(store: Store) -> None:
    store.put(0, Status.IN_PROGRESS, total_steps=None, current_step=0)
    assert "Succeed: 0000<br>in progress<" in markup(open_page("board"))
    assert "Succeed: 0000<br>In progress<" in markup(open_page(operation="0"))


def test_a_bar_says_how_fast_it_goes_and_how_long_it_takes(store: Store) -> None:
    began, latest = NOW - timedelta(seconds=20), NOW - timedelta(seconds=10)
    others = {"started_at": began, "last_updated": latest, "heartbeat_at": NOW}
    store.put(0, Status.IN_PROGRESS, total_steps=40, current_step=20, **others)
    shown = markup(open_page("board"))
    assert "Succeed: 0000<br>20 of 40 steps · 2.0 steps/s · longer than usual<" in shown
    assert (
        'aria-label="Succeed: 0000" aria-valuemin="0" aria-valuemax="100" aria-valuenow="50"'
        in shown
    )
    store.put(0, Status.IN_PROGRESS, total_steps=60, current_step=20, **others)
    st.cache_resource.clear()
    assert "about 19 s left<" in markup(open_page("board"))


def test_a_bar_says_that_it_is_cancelling_and_that_the_heartbeat_is_stale(store: Store) -> None:
    stale = resources.SETTINGS.stale_after + 5
    others = {
        "cancel_requested": True,
        "started_at": NOW - timedelta(seconds=stale + 4),
        "last_updated": NOW - timedelta(seconds=stale),
        "heartbeat_at": NOW - timedelta(seconds=stale),
    }
    store.put(0, Status.IN_PROGRESS, current_step=2, total_steps=1000, **others)
    page = open_page("board")
    assert f" · cancelling · no heartbeat for {format_duration(stale)}<" in markup(page)
    assert [list(cell) for cell in page.dataframe[0].value["Status"]] == [["Cancelling"]]


@pytest.mark.parametrize("stopped", [{"cancel_requested": True}, {"heartbeat_at": None}])
def test_nobody_tells_how_long_it_takes_to_stop(store: Store, stopped: dict[str, Any]) -> None:
    stale = timedelta(seconds=resources.SETTINGS.stale_after + 5)
    times = {"started_at": NOW - 2 * stale, "last_updated": NOW - stale, "heartbeat_at": NOW}
    steps = {"current_step": 2, "total_steps": 1000}
    store.put(0, Status.IN_PROGRESS, **(steps | times | stopped))
    store.put(1, Status.IN_PROGRESS, **(steps | times))
    stopping, other = re.findall("<br>([^<]*)<", markup(open_page("board")))
    assert " left" in other
    assert " left" not in stopping


def test_the_history_names_the_progress_of_what_has_ended(store: Store) -> None:
    """That of an active operation would disagree with its bar a moment later."""
    store.put(1, Status.IN_PROGRESS)
    store.put(2, Status.FAILED)
    progress = open_page("board").dataframe[0].value["Progress"]
    assert [None if math.isnan(value) else value for value in progress] == [None, 25]


def test_an_unknown_total_has_a_bar_of_its_own_and_names_are_no_html(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.ui.timeline.accent_color", lambda: "#123456")
    hostile = '<img src=x onerror="alert(1)">&amp;'
    store.put(0, Status.IN_PROGRESS, subject=hostile, total_steps=None, current_step=7)
    page = open_page("board")
    bar = markup(page)
    assert "<img" not in bar
    assert "Succeed: &lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;amp;<br>7 steps<" in bar
    assert 'role="progressbar"' in bar
    assert "aria-valuenow" not in bar
    assert 'class="unknown-total" style="color:#123456"' in bar


def test_long_names_are_cut(store: Store) -> None:
    store.put(0, Status.IN_PROGRESS, subject="x" * 100_000)
    store.put(1, Status.IN_PROGRESS, subject="x" * 100_000, total_steps=None)
    page = open_page("board")
    assert max(map(len, re.findall("x+", markup(page)))) < 200
    assert [len(subject) for subject in subjects(page)] == [500, 500]


def test_the_polling_ends_with_the_last_operation(store: Store) -> None:
    store.put(1, Status.IN_PROGRESS)
    page = open_page("board")
    assert is_polling(page, "board")
    store.put(1)
    st.cache_resource.clear()  # in the place of the wait for the next read
    page.run()
    assert not is_polling(page, "board")
    assert [list(cell) for cell in page.dataframe[0].value["Status"]] == [["Completed"]]


def test_what_was_never_read_is_not_known(store: Store) -> None:
    store.is_available = False
    page = open_page("board")
    assert set(figures(page).values()) == {"?"}
    shown = [caption.value for caption in page.caption]
    assert "It is not known which operations are active." in shown
    assert not any("No operation is active" in text for text in shown)


def test_figures_that_cannot_be_read_anew_say_how_old_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("progress.poller.MIN_OLD", 0.0)
    monkeypatch.setattr("progress.poller.OLD_AFTER", 0.5)
    store.put(1, Status.IN_PROGRESS)
    page = open_page("board")
    assert "Active operations</strong><small> <" in markup(page)
    store.is_available = False
    run_until(
        page, lambda page: "Active operations</strong><small>, as of 1 s ago <" in markup(page)
    )
    assert figures(page)["In progress"] == "1"
    store.is_available = True
    run_until(page, lambda page: "Active operations</strong><small> <" in markup(page))


def test_the_toggle_follows_though_nothing_is_active(store: Store) -> None:
    store.put(1)
    page = open_page("board")
    assert not is_polling(page, "board")
    page.toggle(key="live").set_value(True).run()
    assert is_polling(page, "board")
    page.toggle(key="live").set_value(False).run()
    assert not is_polling(page, "board")


def test_a_toggle_is_as_it_was_when_the_viewer_comes_back(store: Store) -> None:
    pages = {"board": False, "feed": True}
    page = open_page("board")
    for name, value in pages.items():
        page = switch_page(page, name)
        assert page.toggle(key="live").value is value
        page.toggle(key="live").set_value(not value).run()
    for name, value in pages.items():
        page = switch_page(page, name)
        assert page.toggle(key="live").value is not value
        page = switch_page(page, "run")
        assert switch_page(page, name).toggle(key="live").value is not value


def test_the_history_follows_the_counts_while_nothing_is_active(store: Store) -> None:
    store.put(1)
    page = open_page("board")
    assert not page.get("vega_lite_chart")
    assert page.caption[0].value == "No operation is active."
    store.put(2, Status.IN_PROGRESS)
    st.cache_resource.clear()
    page.run()
    assert page.get("vega_lite_chart")


def test_what_all_viewers_see_is_made_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, poll_interval=60.0))
    store.put(1, Status.IN_PROGRESS)
    open_page("board")
    parts = (overview.counts, overview.active, overview.throughput)
    made = [part.cache_info().misses for part in parts]
    open_page("board")
    assert [part.cache_info().misses for part in parts] == made


def test_a_board_without_interaction_pauses_and_resumes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(1, Status.IN_PROGRESS)
    with monkeypatch.context() as patch:
        patch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, idle_budget=0.0))
        page = open_page("board")
        assert page.info[0].value.startswith("Paused after")
        assert not is_polling(page, "board")
        assert figures(page)["In progress"] == "1", "what was known stays"
    click(page, "resume")
    assert is_polling(page, "board")


def test_coming_back_from_another_page_resumes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(1, Status.IN_PROGRESS)
    with monkeypatch.context() as patch:
        patch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, idle_budget=0.0))
        page = open_page("board")
    page.run()
    assert not is_polling(page, "board"), "a rerun of its own does not resume it"
    switch_page(switch_page(page, "run"), "board")
    assert is_polling(page, "board")
