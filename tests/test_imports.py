"""The layers of the rendered project: imports go downwards, and one package holds the session."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BACKENDS, Bake, imported_names, write_files

# From the top. A module may import from its own layer and from those below.
LAYERS = [
    {"tests"},
    {"dev"},
    {"streamlit_app", "app_pages", "progress.__main__"},
    {"progress.ui"},
    {"progress.session"},
    {
        "progress.poller",
        "progress.overview",
        "progress.feed",
        "progress.adaptive_interval",
        "progress.heap",
    },
    {"progress.backend"},
    {"progress.supervisor"},
    {"progress.execution"},
    {"progress.reporter"},
    {"progress.notifications"},
    {"progress.contract"},
    {"progress.rows", "progress.results", "progress.sql", "progress.edits", "progress.job"},
    {"progress.health"},
    {"progress.operation", "progress.processes", "progress.settings", "progress.text"},
]
CHECKED = ("streamlit_app.py", "app_pages/**/*.py", "dev/**/*.py", "progress/**/*.py")
SESSION = {"session_state", "query_params"}


def layer(name: str) -> int | None:
    """Return the number of the layer of a dotted name, or None for what is in no layer."""
    parts = name.split(".")
    prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return next((number for number, names in enumerate(LAYERS) if names & prefixes), None)


def sources(project: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file that the rules are for."""
    for pattern in CHECKED:
        for path in sorted(project.glob(pattern)):
            yield path.relative_to(project).as_posix(), path.read_text("utf-8")


def upward_imports(project: Path) -> list[str]:
    """Return a line for every import from a higher layer, and for every module in no layer."""
    found = []
    for file, source in sources(project):
        if file == "progress/__init__.py":
            continue
        own = layer(file.removesuffix(".py").replace("/", "."))
        if own is None:
            found.append(f"{file} is in no layer")
            continue
        for name in imported_names(file, source):
            other = layer(name)
            if other is not None and other < own:
                found.append(f"{file} imports {name}")
    return found


def session_outside(project: Path) -> list[str]:
    """Return a line for every use of the session state or the URL outside progress/session/."""
    return [
        f"{file}:{node.lineno} uses {name}"
        for file, source in sources(project)
        if not file.startswith(("progress/session/", "dev/"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute | ast.ImportFrom)
        for name in sorted(SESSION & names(node))
    ]


def names(node: ast.Attribute | ast.ImportFrom) -> set[str]:
    """Return the names that an attribute or an import from a module mentions."""
    return {node.attr} if isinstance(node, ast.Attribute) else {item.name for item in node.names}


@pytest.mark.parametrize("backend", BACKENDS)
def test_imports_go_downwards(bake: Bake, backend: str) -> None:
    assert upward_imports(bake(progress_backend=backend).path) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_progress_session_touches_the_session(bake: Bake, backend: str) -> None:
    assert session_outside(bake(progress_backend=backend).path) == []


TREE = {
    "streamlit_app.py": "from progress.session import tracking\nfrom app_pages import run",
    "app_pages/run.py": "st.switch_page('x', query_params={})\nimport progress.ui.running",
    "dev/__main__.py": "import progress.backend\nst.session_state",
    "progress/__init__.py": "",
    "progress/ui/running.py": "from ..session import tracking\nfrom . import formats",
    "progress/session/tracking.py": "st.session_state\nst.query_params",
    "progress/backend/store.py": "from .connection import x\nfrom progress.rows import y",
    "progress/text.py": "import re",
}


def test_a_layered_project_is_accepted(tmp_path: Path) -> None:
    project = write_files(tmp_path, TREE)
    assert (upward_imports(project), session_outside(project)) == ([], [])


@pytest.mark.parametrize(
    ("file", "source", "name"),
    [
        ("progress/rows.py", "from progress.contract import x", "progress.contract"),
        ("progress/text.py", "import progress.rows as r", "progress.rows"),
        ("progress/heap.py", "def f():\n    from progress import session", "progress.session"),
        ("progress/backend/store.py", "from ..poller import x", "progress.poller"),
        ("progress/backend/store.py", "from .. import poller", "progress.poller"),
        ("progress/session/live.py", "from progress.ui.formats import x", "progress.ui.formats"),
        ("progress/ui/running.py", "from app_pages.run import x", "app_pages.run"),
        ("app_pages/run.py", "import dev.browser", "dev.browser"),
        ("dev/doctor.py", "from tests import conftest", "tests"),
    ],
)
def test_an_upward_import_is_found(tmp_path: Path, file: str, source: str, name: str) -> None:
    assert f"{file} imports {name}" in upward_imports(write_files(tmp_path, TREE | {file: source}))


def test_a_new_module_must_be_placed_in_a_layer(tmp_path: Path) -> None:
    project = write_files(tmp_path, TREE | {"progress/helpers.py": ""})
    assert upward_imports(project) == ["progress/helpers.py is in no layer"]


@pytest.mark.parametrize("file", ["streamlit_app.py", "app_pages/run.py", "progress/poller.py"])
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import streamlit as st\nst.session_state['x'] = 1", "session_state"),
        ("import streamlit\n\nstreamlit.query_params.clear()", "query_params"),
        ("from streamlit import session_state as state", "session_state"),
        ("def f():\n    from streamlit import query_params", "query_params"),
    ],
)
def test_the_session_outside_is_found(tmp_path: Path, file: str, source: str, name: str) -> None:
    (line,) = session_outside(write_files(tmp_path, TREE | {file: source}))
    assert line.startswith(f"{file}:")
    assert line.endswith(f" uses {name}")
