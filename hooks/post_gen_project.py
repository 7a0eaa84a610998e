"""Lay the overlays of the chosen answers over the project, and print what to do next."""

import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

OVERLAYS = "overlays"


def main(project: Path, answers: Mapping[str, Any]) -> int:
    """Finish the rendered project; return the exit status. In a finished one, change nothing."""
    overlays = project / OVERLAYS
    if overlays.is_dir():
        backend = str(answers["progress_backend"])
        chosen = layers(overlays, backend)
        if not chosen:
            print(f"{OVERLAYS}/ has no folder for {backend}.", file=sys.stderr)
            return 1
        if answers["live_feed"]:
            chosen.append(overlays / "live_feed")
        for layer in chosen:
            shutil.copytree(layer, project, dirs_exist_ok=True)
        shutil.rmtree(overlays)
    if answers["licence"] == "none":
        (project / "LICENSE").unlink(missing_ok=True)
    # Nobody reads the end of a closed pipe; an error here would make cookiecutter undo the project.
    with suppress(OSError):
        print("\n".join(next_steps(answers["project_slug"], answers["poll_interval"])), flush=True)
    return 0


def layers(overlays: Path, choice: str) -> list[Path]:
    """Return the folders to lay for a choice, the most shared first: its own has the last word.

    A folder is named after the choices that it serves: `sqlite`, or `api+sqlite` for both.
    """
    served = {folder: folder.name.split("+") for folder in overlays.iterdir() if folder.is_dir()}
    fitting = [folder for folder, choices in served.items() if choice in choices]
    return sorted(fitting, key=lambda folder: (-len(served[folder]), folder.name))


def next_steps(slug: str, interval: str) -> list[str]:
    """Return the lines that a user reads when the project is made."""
    return [
        "Next:",
        f"  cd {slug}",
        "  make dev",
        f"Polling every {interval} makes {3600 / seconds(interval):.0f} reads an hour for each"
        " server process, while somebody",
        "follows operations. The board makes up to four times as many, for each login that opens it.",
    ]


def seconds(interval: str) -> float:
    """Return the seconds in a poll interval that the other hook has accepted."""
    return float(interval.rstrip("ms ")) * (0.001 if interval.endswith("ms") else 1)


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), json.loads(r"""{{ cookiecutter | tojson }}""")))
