"""The stand-in for the backend. SQLite needs none: it stands for itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Provide a backend that keeps its data in `folder`, as it does `always`.

    Yields:
        The environment variables that lead the app, and the jobs that it starts, to it.
    """
    yield {"PROGRESS_DATABASE": str(folder.resolve() / "progress.db")}
