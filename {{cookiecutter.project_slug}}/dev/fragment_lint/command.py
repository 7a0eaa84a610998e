"""The command: which files it checks, what it prints, and its exit code."""

import argparse
import io
import json
import os
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from .findings import Finding, UnreadableError, check_source
from .model import Module
from .rules import RULES

VERSION = "0.1.0"
SKIPPED_FOLDERS = {"build", "node_modules", "venv", "__pycache__"}  # and all hidden ones
USAGE = "Check timed Streamlit fragments for mistakes that show late."
EXIT = "Exit code: 0 no findings, 1 findings, 2 a path that cannot be checked or a wrong option."
GITHUB = {"error": "error", "warning": "warning", "advice": "notice"}


@dataclass
class Report:
    """What a run found: the findings, and one line for each path that could not be checked."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: int = 0


def python_files(path: Path, problems: list[str]) -> Iterator[Path]:
    """Yield `path`, or the Python files in the folder `path`, in order."""
    if not path.is_dir():
        yield path
        return
    try:
        children = sorted(path.iterdir())
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
        return
    for child in children:
        if child.is_dir():
            is_skipped = child.name in SKIPPED_FOLDERS or child.name.startswith(".")
            if not (is_skipped or child.is_symlink() or is_environment(child)):
                yield from python_files(child, problems)
        elif child.suffix == ".py" and child.is_file():  # no pipe, no broken link
            yield child


def is_environment(folder: Path) -> bool:
    """Tell whether a folder is a virtual environment."""
    try:
        return (folder / "pyvenv.cfg").exists()
    except OSError:  # it cannot be read, which is reported when its files are listed
        return False


def read(path: Path) -> str:
    """Return the text of a Python file, in the encoding that it declares."""
    if path.suffix == ".ipynb":
        raise UnreadableError(f"{path}: is a notebook; convert it to a .py file to check it")
    try:
        if path.exists() and not path.is_file():
            raise UnreadableError(f"{path}: cannot be read: not a file")
        data = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path}: cannot be read: not {error.encoding} text") from error
    except SyntaxError as error:
        reason = f"{error.msg}".replace("invalid or missing encoding declaration", "not UTF-8 text")
        raise UnreadableError(f"{path}: cannot be read: {reason}") from error


def lint(paths: Iterable[Path | str], exclude: Sequence[str] = ()) -> Report:
    """Check files and folders; a path that cannot be checked does not hide the others."""
    report, seen = Report(), set()
    project: dict[Path, Module | None] = {}
    for file in (file for path in paths for file in python_files(Path(path), report.problems)):
        identity = os.path.realpath(file)
        if identity in seen or is_excluded(file, exclude):
            continue
        seen.add(identity)
        report.files += 1
        try:
            report.findings += check_source(read(file), str(file), project)
        except UnreadableError as error:
            report.problems.append(str(error))
    return report


def is_excluded(file: Path, patterns: Sequence[str]) -> bool:
    """Tell whether a pattern matches a file, its name or a folder of it."""
    names = [file.as_posix(), file.name, *(part.as_posix() for part in file.parents)]
    names += [part.name for part in file.parents]
    return any(fnmatch(name, pattern.rstrip("/")) for name in names for pattern in patterns)


def check_paths(paths: Iterable[Path | str]) -> list[Finding]:
    """Return the findings in files and folders; raise UnreadableError if there is a bad path."""
    report = lint(paths)
    if report.problems:
        raise UnreadableError(report.problems[0])
    return report.findings


def rule_list(text: str) -> list[str]:
    """Return the rules that an option names."""
    rules = [name.strip().upper() for name in text.split(",") if name.strip()]
    for name in rules:
        if name not in RULES:
            raise argparse.ArgumentTypeError(
                f"unknown rule {name}; the rules are {', '.join(RULES)}"
            )
    return rules


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(prog="fragment-lint", description=USAGE, epilog=EXIT)
    options.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="file, folder, or - for stdin"
    )
    options.add_argument("--select", type=rule_list, metavar="RULES", help="check these rules only")
    options.add_argument("--ignore", type=rule_list, metavar="RULES", help="leave out these rules")
    options.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="leave out these paths"
    )
    options.add_argument("--format", choices=("text", "github", "json"), default="text")
    options.add_argument("--stdin-filename", default="stdin.py", metavar="PATH")
    options.add_argument("--explain", type=rule_list, metavar="RULE", help="describe a rule")
    options.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the paths of the command line, print the findings and return the exit code."""
    options = parser().parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for name in options.explain or ():
        rule = RULES[name]
        print(f"{name} {rule.name} ({rule.severity})\n{rule.why}\nFix: {rule.fix}")
    if options.explain:
        return 0
    if options.paths == ["-"]:
        report = Report(files=1)
        try:
            source = sys.stdin.buffer.read().decode("utf-8-sig")
            report.findings = check_source(source, options.stdin_filename)
        except UnicodeDecodeError:
            report.problems = ["-: cannot be read: not UTF-8 text"]
        except UnreadableError as error:
            report.problems = [str(error)]
    else:
        report = lint(options.paths, options.exclude)
    left_out = set(options.ignore or ())
    chosen = set(options.select or RULES) - left_out
    report.findings = [item for item in report.findings if item.rule.split()[0] in chosen]
    show(report, options.format)
    if report.problems:
        return 2
    return 1 if report.findings else 0


def show(report: Report, kind: str) -> None:
    """Print the findings; problems and the summary go to stderr."""
    if kind == "json":
        print(json.dumps([asdict(item) for item in report.findings], indent=2))
    for item in report.findings if kind != "json" else ():
        print(item if kind == "text" else github(item))
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.findings or not report.files:
        count = len(report.findings)
        files = len({item.file for item in report.findings})
        kinds = [item.severity for item in report.findings]
        parts = [f"{kinds.count(name)} {name}" for name in GITHUB if name in kinds]
        summary = f"{count} finding{'s' * (count != 1)} in {files} of {report.files} files"
        print(f"{summary}: {', '.join(parts)}" if parts else summary, file=sys.stderr)


def github(item: Finding) -> str:
    """Return a finding as an annotation of GitHub Actions."""

    def escape(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    file = escape(item.file).replace(":", "%3A").replace(",", "%2C")
    place = f"file={file},line={item.line},col={item.column}"
    place += f",endLine={item.end_line},endColumn={item.end_column},title={item.rule}"
    return f"::{GITHUB[item.severity]} {place}::{escape(f'{item.message}. Fix: {item.fix}')}"
