"""What it takes until a page is served: baking, downloads, the start. Part of `make bench`.

Usage: uv run python benchmarks/start.py BACKEND RESULTS.json

Cold is the first time on a machine: an empty cache of packages, so it measures the network, too.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1]
PORT = "8791"
UV = os.environ.get("UV", "uv")  # uv says here where it is


def timed(*command: str, cwd: Path, **variables: str) -> float:
    """Run a command quietly; return its seconds."""
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environment(**variables), check=True, capture_output=True)
    return time.perf_counter() - began


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of this process without those of its own virtual environment."""
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return kept | variables


def serve(project: Path, **variables: str) -> float:
    """Serve a project, as `make dev` does; return the seconds until the page is there."""
    began = time.perf_counter()
    with subprocess.Popen(
        [UV, "run", "--quiet", "python", "-m", "dev"],
        cwd=project,
        env=environment(PORT=PORT, **variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            while process.poll() is None:
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT}"):
                    return time.perf_counter() - began
                time.sleep(0.02)
        finally:
            # To the group: uv passes signals on, but only once it runs the command.
            os.killpg(process.pid, signal.SIGTERM)
    raise SystemExit("The project was not served.")


def megabytes(project: Path, folder: Path) -> float:
    """Download what production installs; return the megabytes of the wheels."""
    list_ = folder / "requirements.txt"
    timed(
        *(UV, "export", "--quiet", "--no-dev", "--no-hashes", "--output-file", str(list_)),
        cwd=project,
    )
    pip = (UV, "run", "--quiet", "--with", "pip", "python", "-m", "pip", "download", "--no-deps")
    timed(*pip, "--dest", str(folder / "wheels"), "--requirement", str(list_), cwd=project)
    return sum(file.stat().st_size for file in (folder / "wheels").iterdir()) / 1e6


def main() -> None:
    """Measure, and write the figures."""
    backend = sys.argv[1]
    # Under build/, whose parents are open to others: a stand-in may run as a user of its own.
    with tempfile.TemporaryDirectory(dir=TEMPLATE / "build") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bake = (sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input")
        answers = ("--default-config", "project_slug=demo", f"progress_backend={backend}")
        baked = timed(*bake, *answers, cwd=folder)
        project = folder / "demo"
        row = {
            "bake_s": round(baked, 2),
            "cold_s": round(baked + serve(project, UV_CACHE_DIR=str(folder / "cache")), 1),
            "warm_s": round(serve(project), 1),
            "wheels_mb": round(megabytes(project, folder), 1),
        }
    print(json.dumps(row))
    Path(sys.argv[2]).write_text(json.dumps(row))


if __name__ == "__main__":
    main()
