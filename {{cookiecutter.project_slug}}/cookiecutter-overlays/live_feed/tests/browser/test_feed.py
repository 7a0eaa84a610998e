"""The live feed in a real browser: it polls while its toggle is on and the page is open."""

from collections.abc import Callable

from tests.browser.conftest import Server, Viewer

Visit = Callable[..., Viewer]


def test_the_feed_runs_until_the_toggle_is_off(visit: Visit) -> None:
    feed = visit("/feed")
    feed.see("Latest row at")
    feed.expect_polling()
    feed.toggle()
    feed.expect_no_polling()
    feed.see("Latest row at")
    feed.toggle()
    feed.expect_polling()
    feed.page.get_by_role("link", name="Run").click()
    feed.wait_until_startable()
    feed.expect_no_polling()


def test_a_feed_without_interaction_pauses_and_resumes(
    visit: Visit, pausing_server: Server
) -> None:
    feed = visit("/feed", at=pausing_server)
    feed.see("Paused after 3 s")
    feed.expect_no_polling()
    feed.resume()
