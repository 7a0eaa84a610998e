"""The feed in a real browser: a clock of 24 hours, gaps, a toggle that stays off."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Server, Viewer, copy_project, free_port

Visit = Callable[..., Viewer]

FEED = """
from datetime import datetime, timedelta


def rows_since(cursor):
    noon = datetime.now().astimezone().replace(hour=12, minute=0, second=0, microsecond=0)
    minutes = [*range(60, 120), *range(180, 240)]
    return [{"time": noon + timedelta(minutes=minute), "Orders": 1_234_567} for minute in minutes]
"""


@pytest.fixture(scope="module")
def afternoon(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app with a feed of two hours of an afternoon, and no rows between."""
    project = copy_project(tmp_path_factory.mktemp("afternoon"))
    (project / "feeds.py").write_text(FEED, "utf-8")
    app = Server(environment, free_port(), project)
    app.start()
    yield app
    app.stop()


def test_a_chart_has_a_clock_of_24_hours_and_a_gap(visit: Visit, afternoon: Server) -> None:
    feed = visit("/feed", at=afternoon)
    feed.see("1,234,567")
    chart = feed.page.locator("[data-testid=stVegaLiteChart] svg")
    expect(chart).to_contain_text("14:00")
    expect(chart).not_to_contain_text("02:00")
    (area,) = chart.locator(".mark-area path[aria-roledescription]").all()
    assert str(area.get_attribute("d")).count("M") == 2


def test_the_toggle_stays_off_when_the_viewer_comes_back(visit: Visit) -> None:
    feed = visit("/feed")
    feed.expect_polling()
    feed.toggle()
    expect(feed.page.locator(".late")).to_have_count(0)  # the server has it
    feed.page.get_by_role("link", name="Run").click()
    feed.wait_until_startable()
    feed.page.get_by_role("link", name="Live feed").click()
    feed.see("Latest row at")
    expect(feed.page.locator(".st-key-live input")).not_to_be_checked()
    feed.expect_no_polling()
    feed.toggle()
    feed.expect_polling()
