"""The local server of `make dev` and the tests. SQLite needs none: the file is enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Keep the operations in `folder`. `always` is for backends that may be configured elsewhere.

    Yields:
        The environment variables by which the app and its jobs find the file.
    """
    yield {"PROGRESS_DATABASE": str(folder.resolve() / "progress.db")}
