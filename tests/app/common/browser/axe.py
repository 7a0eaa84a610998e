"""axe-core, which finds faults of accessibility on a page: contrast, names, roles, headings."""

from importlib.resources import files

from tests.browser.conftest import Viewer

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


def expect_accessible(viewer: Viewer) -> None:
    """Fail if axe finds a violation on the page."""
    viewer.frames_in(0.5)  # fonts, and elements that fade in
    viewer.page.evaluate(AXE)
    found = viewer.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
