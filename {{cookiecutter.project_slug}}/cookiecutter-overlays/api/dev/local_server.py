"""The local server of `make dev` and the tests: the reference service."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from progress.backend import reference
from progress.backend.credentials import ENVIRONMENT, configuration
from progress.backend.mapping import load_service
from progress.contract import BackendRejected
from progress.processes import OWN_GROUP
from progress.settings import ROOT, SettingsError, read_secrets


@contextmanager
def local_server(folder: Path, always: bool = False) -> Iterator[dict[str, str]]:
    """Run a reference service with a new token, unless another service is configured.

    It says which service the app uses, unless `always`.

    Args:
        folder: Where it keeps its data.
        always: Start it even if a service is configured. Tests must not use that.

    Yields:
        The environment variables with which the app uses it.

    Raises:
        BackendRejected: .streamlit/secrets.toml is not TOML, the service did not start, or
            service.py is for another service, and none is configured.
    """
    if not always:
        if url := configured().get("url"):
            # Without credentials, which do not belong there.
            where = str(url).rpartition("@")[2]
            print(f"The app uses the service at {where}, as configured.", flush=True)
            yield {}
            return
        if load_service() is not reference.SERVICE:
            raise BackendRejected(
                "progress/backend/service.py is not for the reference service, and no other is"
                " configured: set url under [connections.progress] in .streamlit/secrets.toml, or"
                " PROGRESS_API_URL."
            )
    token = secrets.token_urlsafe(24)
    with service(folder, token) as url:
        if not always:
            print(f"The app uses the reference service, dev/service.py, at {url}.", flush=True)
        # Those of another service, which may be set, are not for this one.
        yield dict.fromkeys(ENVIRONMENT.values(), "") | {
            "PROGRESS_API_URL": url,
            "PROGRESS_API_TOKEN": token,
            "SERVICE_MODULE": reference.__name__,
        }


@contextmanager
def service(folder: Path, token: str, port: int = 0) -> Iterator[str]:
    """Run the reference service in a process of its own and yield its address."""
    variables = {
        "PROGRESS_API_TOKEN": token,
        "SERVICE_PORT": str(port),
        "SERVICE_FOLDER": str(folder.resolve()),
        # So that it ends even if this process is killed.
        "SERVICE_ENDS_WITH_STDIN": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "dev.service"],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C reaches only this process, which then ends the service.
        **OWN_GROUP,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise BackendRejected("The reference service did not start: see above.")
            yield url
        finally:
            process.stdin.close()  # which ends it, see above
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def configured() -> dict[str, Any]:
    """Return the settings of the service in .streamlit/secrets.toml and the environment."""
    try:
        connections = read_secrets().get("connections", {})
    except SettingsError as error:
        raise BackendRejected(str(error)) from None
    return configuration(connections.get("progress", {}))
