"""axe-core, which finds faults of accessibility on a page: contrast, names, roles, headings."""

from importlib.resources import files

from tests.browser.conftest import Viewer

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
STREAMLIT = "[data-testid=stFileUploaderDropzone]"  # its role and its tabindex contradict


def expect_accessible(viewer: Viewer) -> None:
    """Fail if axe finds a violation on the page."""
    viewer.frames_in(0.5)  # fonts, and elements that fade in
    viewer.page.evaluate(AXE)
    run = "exclude => axe.run({exclude: [exclude]}, {resultTypes: ['violations']})"
    found = viewer.page.evaluate(run, STREAMLIT)["violations"]
    assert not found, [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]
