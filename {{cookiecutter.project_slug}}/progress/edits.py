"""Edits of the user's modules while the server runs. No Streamlit."""

import os
import sys
import time
from pathlib import Path

from progress.settings import ROOT

_NOT_RELOADED = {"progress", "dev", "tests"}  # see folderWatchBlacklist in .streamlit/config.toml
_CLOCK_SLACK = 2.0  # seconds by which the time of a file may be behind the clock

_checked_at = time.time()


def forget_edited_modules() -> None:
    """Let the next imports read jobs.py and its like again, if one was edited since the last call.

    Streamlit tells this only to the pages that were open during the edit. A reload is a new
    session: it would offer the jobs of before the edit, while processes of jobs run the new code.
    """
    global _checked_at
    since, _checked_at = _checked_at - _CLOCK_SLACK, time.time()
    paths = {
        name: Path(file)
        for name, module in sys.modules.copy().items()
        if name != "__main__" and (file := getattr(module, "__file__", None)) and _is_own(file)
    }
    # All of them, as Streamlit does: each may have imported names from the others.
    if any(_changed_at(path) > since for path in paths.values()):
        for name in paths:
            sys.modules.pop(name, None)


def _is_own(file: str) -> bool:
    if not file.startswith(f"{ROOT}{os.sep}"):  # of some thousand modules, this is true for a few
        return False
    parts = Path(file).relative_to(ROOT).parts
    is_installed = "site-packages" in parts or any(part.startswith(".") for part in parts)
    return not is_installed and parts[0] not in _NOT_RELOADED


def _changed_at(path: Path) -> float:
    try:
        stat = path.stat()
    except OSError:  # it was removed, or an editor is replacing it
        return float("inf")
    return max(stat.st_mtime, stat.st_ctime)  # a file that was moved here keeps its `st_mtime`
