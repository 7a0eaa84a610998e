"""Copy the deep tests of the machinery, tests/app, into a baked project, where they run.

    python tests/deep_tests.py build/demo-sqlite sqlite

`make test-app` does this with a project that it bakes.
"""

import shutil
import sys
from pathlib import Path

DEEP_TESTS = Path(__file__).parent / "app"
# `every_backend` runs with each of them. What is the same with every backend is tested with one.
GROUPS = {
    "sqlite": ("common", "session", "live_feed", "sqlite"),
}

# What the deep tests need, and the tests of a project do not.
PACKAGES = (
    "apprise>=1.9,<2",
    "axe-playwright-python>=0.1.8,<1",
    "hypothesis>=6.100,<7",
    "joserfc>=1,<2",
    "schemathesis>=4.20,<5",
    "streamlit[auth]",
)


def add_deep_tests(project: Path, backend: str) -> None:
    """Copy the tests for a backend to tests/app/ and tests/browser/app/ of the project."""
    pyproject = project / "pyproject.toml"
    lines = "".join(f'    "{package}",\n' for package in PACKAGES)
    text = pyproject.read_text("utf-8")
    if lines not in text:
        pyproject.write_text(text.replace("dev = [\n", f"dev = [\n{lines}", 1), "utf-8")
    folders = project / "tests" / "app", project / "tests" / "browser" / "app"
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    for group in ("every_backend", *GROUPS.get(backend, (backend,))):
        for path in (DEEP_TESTS / group).rglob("*.py"):
            # Browser tests get the fixtures of tests/browser/conftest.py.
            copy = folders[path.parent.name == "browser"] / path.name
            if copy.exists():
                raise FileExistsError(f"Two groups have a {path.name}.")
            shutil.copy2(path, copy)


if __name__ == "__main__":
    add_deep_tests(Path(sys.argv[1]), sys.argv[2])
