"""Lay the chosen backend over the project, and print what to do next."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BACKENDS = "backends"


def main(project: Path, answers: Mapping[str, Any]) -> int:
    """Finish the rendered project; return the exit status. In a finished one, change nothing."""
    backends = project / BACKENDS
    if backends.is_dir():
        chosen = layers(backends, answers["progress_backend"])
        if not chosen:
            print(f"{BACKENDS}/ has no folder for {answers['progress_backend']}.", file=sys.stderr)
            return 1
        for layer in chosen:
            shutil.copytree(layer, project, dirs_exist_ok=True)
        shutil.rmtree(backends)
    if answers["licence"] == "none":
        (project / "LICENSE").unlink(missing_ok=True)
    print("\n".join(next_steps(answers["project_slug"], answers["poll_interval"])))
    return 0


def layers(backends: Path, choice: str) -> list[Path]:
    """Return the folders to lay for a choice, the most shared first: its own has the last word.

    A folder is named after the choices that it serves: `sqlite`, or `api+sqlite` for both.
    """
    served = {folder: folder.name.split("+") for folder in backends.iterdir() if folder.is_dir()}
    fitting = [folder for folder, choices in served.items() if choice in choices]
    return sorted(fitting, key=lambda folder: (-len(served[folder]), folder.name))


def next_steps(slug: str, interval: str) -> list[str]:
    """Return the lines that a user reads when the project is made."""
    return [
        "Next:",
        f"  cd {slug}",
        "  make dev",
        f"Asking every {interval} makes {3600 / seconds(interval):.0f} reads an hour for each"
        " server process, while somebody",
        "follows operations. The board makes up to four times as many, for each login that looks.",
    ]


def seconds(interval: str) -> float:
    """Return the seconds in a poll interval that the other hook has accepted."""
    return float(interval.rstrip("ms ")) * (0.001 if interval.endswith("ms") else 1)


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), json.loads(r"""{{ cookiecutter | tojson }}""")))
