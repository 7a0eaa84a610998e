"""The page of live figures: what it draws, and what ends its polling."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import feeds
from progress.contract import BackendUnavailable
from progress.session import resources
from tests.pages import click, figures, is_polling, markup, open_page

NOW = datetime.now(UTC)


pytestmark = pytest.mark.usefixtures("fresh_app")


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the tests: those of feeds.py may come from a production database."""
    times = [NOW - timedelta(seconds=1), NOW]
    found = [{"time": time, "Orders": 7, "Revenue": 120.5} for time in times]
    monkeypatch.setattr(feeds, "rows_since", lambda cursor: found)


def test_the_feed_shows_figures_and_charts() -> None:
    page = open_page("feed")
    assert figures(page) == {"Orders": "7", "Revenue": "120.5"}
    assert len(page.get("vega_lite_chart")) == 2
    assert page.toggle(key="live").value
    assert 'class="late"' in markup(page), "the browser shows it if the updates stop"


def test_names_of_figures_are_no_html(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"time": NOW, "<b>a</b>": 1}, {"time": NOW + timedelta(seconds=1), "<b>a</b>": 0.5}]
    monkeypatch.setattr(feeds, "rows_since", lambda cursor: rows)
    page = open_page("feed")
    assert "<b>" not in markup(page)
    assert figures(page) == {"<b>a</b>": "0.5"}
    assert ">-0.5<" in markup(page)


@pytest.mark.parametrize("error", [BackendUnavailable("no *route*"), ZeroDivisionError("oops")])
def test_an_error_of_the_feed_is_a_warning(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cursor: datetime | None) -> None:
        raise error

    monkeypatch.setattr(feeds, "rows_since", fail)
    page = open_page("feed")
    assert page.warning[0].value == "The feed cannot be read now."
    assert str(error) in page.text[0].value
    assert not page.error


def test_what_is_known_of_a_feed_stays_above_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page("feed")
    known = [element.type for element in page.main]

    def fail(cursor: datetime | None) -> None:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(feeds, "rows_since", fail)
    time.sleep(1.5 * resources.SETTINGS.poll_interval)
    page.run()
    now = [element.type for element in page.main]
    assert page.warning[0].value == "The feed cannot be read now."
    assert now == [*known[:-1], "warning", "text", *known[-1:]]  # the last is not of this page


def test_a_feed_without_rows_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "rows_since", lambda cursor: [])
    assert "feeds.py" in open_page("feed").info[0].value


def test_a_feed_stops_by_the_toggle_and_without_interaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = open_page("feed")
    assert is_polling(page, "feed")
    page.toggle(key="live").set_value(False).run()
    assert not is_polling(page, "feed")
    assert figures(page), "what was known stays"
    with monkeypatch.context() as patch:
        patch.setattr(resources, "SETTINGS", replace(resources.SETTINGS, idle_budget=0.0))
        page.toggle(key="live").set_value(True).run()
        assert page.info[0].value.startswith("Paused after")
        assert not is_polling(page, "feed")
    click(page, "resume")
    assert is_polling(page, "feed")
