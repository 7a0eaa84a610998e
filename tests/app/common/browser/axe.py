"""axe-core, which finds faults of accessibility on a page: contrast, names, roles, headings."""

from importlib.resources import files

from tests.browser.conftest import Viewer

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
STREAMLIT = "[data-testid=stFileUploaderDropzone]"  # its role and its tabindex contradict


def expect_accessible(viewer: Viewer) -> None:
    """Fail if axe finds a violation on the page."""
    run = "exclude => axe.run({exclude: [exclude]}, {resultTypes: ['violations']})"
    for _ in range(5):  # fonts may come later, and elements fade in
        viewer.frames_in(0.5)
        viewer.page.evaluate(AXE)
        found = viewer.page.evaluate(run, STREAMLIT)["violations"]
        if not found:
            return
    named = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]
    raise AssertionError(named)
