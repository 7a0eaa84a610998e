"""Copy the overlays of the chosen answers over the project, and print the next steps."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

OVERLAYS = "cookiecutter-overlays"
# Its text is `replace`, or `keep`: see pre_gen_project.py.
EXISTING_FILES = "existing-files.txt"


def main(project: Path, answers: Mapping[str, Any]) -> int:
    """Finish the rendered project; return the exit status. A finished project is not changed."""
    overlays = project / OVERLAYS
    if overlays.is_dir():
        backend = str(answers["progress_backend"])
        # An overlay is named after the backends that it is for: `sqlite`, or `api+sqlite` for both.
        chosen = [folder for folder in overlays.iterdir() if backend in folder.name.split("+")]
        if not chosen:
            print(f"{OVERLAYS}/ has no folder for {backend}.", file=sys.stderr)
            return 1
        if answers["live_feed"]:
            chosen.append(overlays / "live_feed")
        keeps = (overlays / EXISTING_FILES).read_text("utf-8").strip() == "keep"
        for overlay in chosen:
            copy = copy_if_missing if keeps else shutil.copy2
            shutil.copytree(overlay, project, dirs_exist_ok=True, copy_function=copy)
        shutil.rmtree(overlays)
    licence = project / "LICENSE"
    # Without a licence cookiecutter renders an empty file. A user's own licence stays.
    if answers["licence"] == "none" and licence.is_file() and not licence.read_bytes().strip():
        licence.unlink()
    say(summary(answers))
    return 0


def copy_if_missing(source: str, target: str) -> None:
    """Copy a file, unless there is one in its place."""
    if not os.path.lexists(target):
        shutil.copy2(source, target)


def summary(answers: Mapping[str, Any]) -> list[str]:
    """Return the lines that a user reads when the project is made: what was chosen, what is next.

    cookiecutter replaces an unknown choice of a user's configuration with the default.
    """
    interval = answers["poll_interval"]
    live_feed = "yes" if answers["live_feed"] else "no"
    return [
        f"Made with progress_backend={answers['progress_backend']}, poll_interval={interval},"
        f" live_feed={live_feed}, licence={answers['licence']}.",
        "Next:",
        f"  cd {answers['project_slug']}",
        "  make dev",
        "Then edit jobs.py.",
        f"Polling every {interval} makes {3600 / seconds(interval):.0f} reads an hour for each"
        " server process while operations",
        "are tracked. The board makes up to four times as many for each login that opens it.",
    ]


def say(lines: Iterable[str]) -> None:
    """Print the lines. If stdout is a closed pipe they are lost, but the project is made."""
    try:
        for line in lines:
            print(line, flush=True)
    except OSError:
        # Python flushes again at exit. If that failed too, cookiecutter would delete the project.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def seconds(interval: str) -> float:
    """Return the seconds in a poll interval that the other hook has accepted."""
    return float(interval.rstrip("ms ")) * (0.001 if interval.endswith("ms") else 1)


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), json.loads(r"""{{ cookiecutter | tojson }}""")))
