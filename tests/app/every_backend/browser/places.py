"""Where an element is, for clicks at a point."""

from playwright.sync_api import FloatRect, Locator

from tests.browser.conftest import Viewer


def place_at_rest(viewer: Viewer, element: Locator) -> FloatRect:
    """Wait until an element has not moved for half a second, and return where it is."""
    before = None
    for _ in range(60):
        place = element.bounding_box()
        if place is not None and place == before:
            return place
        before = place
        viewer.frames_in(0.5)
    raise AssertionError("it moves, or is not there")
