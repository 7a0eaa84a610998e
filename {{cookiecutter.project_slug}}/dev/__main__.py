"""Serve the app on this machine: `make dev`, or `uv run python -m dev`.

Where the secrets configure no backend, its local server is started first. PORT (default 8501) sets
the port. Ctrl-C or SIGTERM ends everything that was started, except jobs in their own processes.
"""

import os
import signal
import subprocess
import sys

from progress.contract import BackendError
from progress.settings import ROOT

try:
    from dev.local_server import local_server
except ModuleNotFoundError as error:
    if error.name != "dev.local_server":
        raise
    sys.exit(
        "dev/local_server.py is missing: cookiecutter ran without the template's hooks. Run it"
        " again with --overwrite-if-exists --skip-if-file-exists and without --accept-hooks no."
    )


def main() -> int:
    """Serve until a signal arrives; return the exit code of the server."""
    if sys.platform not in ("linux", "darwin"):
        print(
            f"{sys.platform} is not tested. Where something fails, use Linux, macOS or WSL.",
            file=sys.stderr,
        )
    port = os.environ.get("PORT") or "8501"
    if not (port.isdecimal() and 0 < int(port) < 65536):
        print(
            f"PORT={port} is not a port. Use a number from 1 to 65535, such as 8501.",
            file=sys.stderr,
        )
        return 2
    # Handle them as Ctrl-C, so that the local server below is closed either way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, signal.default_int_handler)  # of Ctrl-Break
    try:
        with local_server(ROOT / ".local") as environment:
            return serve(port, environment)
    except KeyboardInterrupt:
        return 0
    except BackendError as error:  # of the local server: nothing to serve with
        print(error, file=sys.stderr)
        return 1


def serve(port: str, environment: dict[str, str]) -> int:
    """Run Streamlit until it ends or a signal arrives."""
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    command += ["--server.port", port, "--server.address", "127.0.0.1", "--server.headless", "true"]
    # Apart from production: whole tracebacks, and a prompt to rerun a page after an edit.
    command += ["--client.showErrorDetails", "full", "--client.toolbarMode", "developer"]
    if "STREAMLIT_SERVER_ALLOWED_HOSTS" not in os.environ:  # else a website could reach the app
        command += ["--server.allowedHosts", "localhost", "--server.allowedHosts", "127.0.0.1"]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment)
    try:
        return server.wait()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
