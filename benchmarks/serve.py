"""Serve an app with Streamlit, and count its reads of the backend.

Usage: python serve.py APP PORT

COUNTS names a folder. Each read appends one byte to its file READS, each script run one to RUNS:
their sizes are the counts. Nothing else differs from `streamlit run` with the options of the
project's Dockerfile.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def opened(name: str) -> int:
    """Return a file to count in, opened once."""
    return os.open(f"{os.environ['COUNTS']}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def counted(function: Callable[P, R], name: str = "READS") -> Callable[P, R]:
    """Return the function with its calls counted."""
    file = opened(name)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        os.write(file, b".")
        return function(*args, **kwargs)

    return call


def count(owner: Any, method: str, name: str) -> None:
    """Count the calls of a method."""
    setattr(owner, method, counted(getattr(owner, method), name))


def main() -> None:
    """Serve until told to stop."""
    from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
    from streamlit.web.cli import main as streamlit

    app, port = sys.argv[1:]
    sys.path.insert(0, os.getcwd())
    count(ScriptRunner, "_run_script", "RUNS")
    if app == "streamlit_app.py":
        from progress.backend.connection import ProgressConnection

        for method in ("read", "recent", "counts"):
            count(ProgressConnection, method, "READS")
    sys.argv = ["streamlit", "run", app, "--server.port", port, "--server.address", "127.0.0.1"]
    sys.argv += ["--server.headless", "true", "--server.fileWatcherType", "none"]
    sys.argv += ["--browser.gatherUsageStats", "false"]
    streamlit()


if __name__ == "__main__":
    main()
