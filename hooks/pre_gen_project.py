"""Check the answers before the project is rendered: one line for each problem."""

import json
import keyword
import os
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

OVERLAYS = "cookiecutter-overlays"
EXISTING_FILES = "existing-files.txt"

# The free-text answers: the maximum length, and an example.
TEXTS = {
    "project_name": (80, "Live Progress"),
    "description": (200, "Shows the progress of call analysis."),
    "author": (80, "Ada Lovelace"),
    "operation": (80, "Analyze transcription"),
}
MAX_SLUG = 50
POSSIBLE_INTERVALS = 0.2, 60
USUAL_INTERVALS = 0.5, 10
SECONDS = {"ms": 0.001, "s": 1, "": 1}

# How a Jinja expression, block or comment starts. Written so that cookiecutter, which renders this
# file too, does not see one here.
JINJA = re.compile(r"\{(?:\{|%|#)")
# Marks that change the direction of the text after them, the byte order mark, and two code points
# that YAML does not allow.
INVISIBLE = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")

# Windows allows no folder with these names.
DEVICES = {"aux", "con", "nul", "prn"}
DEVICES |= {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}


def main(answers: Mapping[str, Any], typed: Mapping[str, Any], project: Path) -> int:
    """Print the problems and a remedy, or what an unusual answer costs; return the exit status.

    Args:
        answers: The answers as cookiecutter uses them.
        typed: The same answers before cookiecutter rendered them as templates.
        project: The folder of the project, which may have files of an earlier run.
    """
    overlays = project / OVERLAYS
    found = [*problems(answers, typed), *folder_problems(overlays)]
    if found:
        for line in (*found, *remedy(answers, {line.partition(":")[0] for line in found})):
            print(line, file=sys.stderr)
        return 1
    say(notes(str(answers["poll_interval"])))
    if any(project.iterdir()):
        mark_existing(overlays)
    return 0


def remedy(answers: Mapping[str, Any], refused: set[str]) -> Iterator[str]:
    """Yield the command that starts again with the answers that are not refused."""
    command = ["cookiecutter", str(answers.get("_template", "TEMPLATE"))]
    if answers.get("_checkout"):
        command += ["--checkout", answers["_checkout"]]
    # This script runs in the project's folder. PWD is where the user typed the command.
    if answers.get("_output_dir", ".") not in (".", os.environ.get("PWD")):
        command += ["--output-dir", answers["_output_dir"]]
    for name, answer in answers.items():
        if not name.startswith("_") and name not in refused:
            text = {True: "yes", False: "no"}.get(answer, answer)
            command.append(f"{name}={text}")
    yield f"To keep the other answers: {shlex.join(command)}"
    yield "Below is a traceback of cookiecutter, which it prints whenever a hook refuses."


def folder_problems(overlays: Path) -> Iterator[str]:
    """Yield a line if the project has a folder of its user's where the overlays are rendered."""
    if os.path.lexists(overlays) and not (overlays / EXISTING_FILES).is_file():
        yield f"{OVERLAYS}: the project has its own, and this template needs the name. Rename yours"


def mark_existing(overlays: Path) -> None:
    """Write the file that tells the other hook whether to keep the user's files.

    A hook does not get the options of cookiecutter. With --skip-if-file-exists cookiecutter does
    not replace this file, so its text stays `keep`. Otherwise the template's replaces it.
    """
    if overlays.is_dir():  # left by a run without hooks, or one that was interrupted
        shutil.rmtree(overlays)
    overlays.mkdir()
    (overlays / EXISTING_FILES).write_text("keep\n", "utf-8")


def say(lines: Iterable[str]) -> None:
    """Print the lines. If stdout is a closed pipe they are lost, but the project is made."""
    try:
        for line in lines:
            print(line, flush=True)
    except OSError:
        # Python flushes again at exit. If that failed too, cookiecutter would delete the project.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def problems(answers: Mapping[str, Any], typed: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each problem with the answers."""
    for name, (longest, example) in TEXTS.items():
        text = str(answers[name])
        for why in text_problems(text, str(typed.get(name, "")), longest):
            yield f"{name}: {why}, such as: {example}"
    # project_name is in snowflake.yml, where the Snowflake CLI evaluates it.
    if answers["progress_backend"] == "snowflake" and "<%" in str(answers["project_name"]):
        text = quoted(str(answers["project_name"]))
        yield f"project_name: {text} has <%, which the Snowflake CLI would evaluate. Remove it"
    why_not = slug_problem(str(answers["project_slug"]))
    if why_not:
        yield f"project_slug: {why_not}"
    try:
        interval_seconds(str(answers["poll_interval"]))
    except ValueError as error:
        yield f"poll_interval: {error}"


def text_problems(text: str, typed: str, longest: int) -> Iterator[str]:
    """Yield the problems with a free-text answer, each with the remedy."""
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        yield f"{quoted(text)} has no readable characters. Enter some text"
    if len(text) > longest:
        yield f"{quoted(text)} has {len(text)} characters. Use at most {longest}"
    for source in (text, typed):
        opening = JINJA.search(source)
        if opening:
            yield f"{quoted(source)} has {opening[0]}, which cookiecutter would evaluate. Remove it"
            break
    refused = sorted({f"U+{ord(character):04X}" for character in text if is_refused(character)})
    if refused:
        codes = ", ".join(refused[:3]) + (", ..." if refused[3:] else "")
        yield f"{quoted(text)} has invisible characters: {codes}. Use one line of plain text"


def is_refused(character: str) -> bool:
    """Tell whether a character would break a file, or hide part of the text."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or INVISIBLE.match(character) is not None
    )


def slug_problem(slug: str) -> str:
    """Return why the slug is invalid, with one that is valid; or an empty string."""
    fault = slug_fault(slug)
    if not fault:
        return ""
    plain = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:MAX_SLUG].rstrip("-")
    tries = (plain, f"{plain}-app", f"app-{plain}", "live-progress")
    return f"{fault}, such as: {next(name for name in tries if not slug_fault(name))}"


def slug_fault(slug: str) -> str:
    """Return why the slug is invalid as the name of a folder and a package; or an empty string."""
    if not slug:
        return "it is empty, and project_name has no letters to derive it from. Enter one"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        return f"{quoted(slug)} is not a valid name. Use a-z, 0-9 and hyphens, a letter first"
    if len(slug) > MAX_SLUG:
        return f"{quoted(slug)} has {len(slug)} characters. Use at most {MAX_SLUG}"
    if slug in DEVICES:
        return f"{quoted(slug)} is a reserved name on Windows. Choose another"
    if keyword.iskeyword(slug):
        return f"{quoted(slug)} is a Python keyword. Choose another"
    return ""


def interval_seconds(text: str) -> float:
    """Return the seconds in "0.5s", "500ms", "2" or "1.5 s".

    Raises:
        ValueError: The text is not a time like these, or it is out of range.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|)", text)
    if match is None:
        raise ValueError(f"{quoted(text)} is not a time in seconds. Enter a time, such as: 0.5s")
    seconds = float(match[1]) * SECONDS[match[2]]
    lowest, highest = POSSIBLE_INTERVALS
    if not lowest <= seconds <= highest:
        raise ValueError(
            f"{quoted(text)} is out of range. Use {lowest}s to {highest}s, such as: 0.5s"
        )
    return seconds


def notes(interval: str) -> Iterator[str]:
    """Yield what an unusual poll interval costs."""
    seconds = interval_seconds(interval)
    shortest, longest = USUAL_INTERVALS
    if seconds < shortest:
        yield (
            f"poll_interval: {interval} makes {3600 / seconds:.0f} reads an hour for each server"
            " process while operations are tracked. 0.5s is enough for most apps."
        )
    if seconds > longest:
        yield f"poll_interval: with {interval} a page shows updates up to {seconds:g} seconds late."


def quoted(text: str) -> str:
    """Return the text in quotes on one line, shortened, with invisible characters escaped."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


if __name__ == "__main__":
    # The only expression that cookiecutter renders here. `tojson` escapes quotes, < and >, so no
    # answer can end the string.
    context = json.loads(
        r"""{{ dict(answers=cookiecutter, typed=_cookiecutter | default({})) | tojson }}"""
    )
    sys.exit(main(context["answers"], context["typed"], Path.cwd()))
