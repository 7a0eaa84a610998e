"""The local server of `make dev` and the tests. SQLite needs none: the file is enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Leave the file to the configuration, or with `always` keep it in `folder`: tests do.

    Yields:
        The environment variables by which the app and its jobs find the file.
    """
    yield {"PROGRESS_DATABASE": str(folder.resolve() / "progress.db")} if always else {}
