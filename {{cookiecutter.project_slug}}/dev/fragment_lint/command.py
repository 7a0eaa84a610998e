"""The command: its options, and its exit code."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from textwrap import indent

from .files import configuration, decode, is_excluded, project_root, python_files, read
from .findings import Finding, UnreadableError, check_app, check_source, read_app
from .model import Project
from .output import Report, render
from .rules import RULES

USAGE = "Check timed Streamlit fragments for mistakes that appear only at run time."
EXIT = "Exit code: 0 no findings, 1 findings, 2 a path that cannot be checked or a wrong option."
FORMATS = ("text", "github", "json", "sarif")


def lint(
    paths: Iterable[Path | str], exclude: Sequence[str] = (), root: Path | None = None
) -> Report:
    """Check files and folders; a path that cannot be checked does not hide the others."""
    report, seen, apps = Report(), set(), []
    root = root or Path.cwd()
    project = Project()
    for file in (file for path in paths for file in python_files(Path(path), report.problems)):
        identity = os.path.realpath(file)
        if identity in seen or is_excluded(file, exclude, root):
            continue
        seen.add(identity)
        report.files += 1
        try:
            apps.append(read_app(read(file), str(file), project))
        except UnreadableError as error:
            report.problems.append(str(error))
    for app in apps:  # when all are read: a page may render what another file defines
        try:
            report.findings += check_app(app)
        except UnreadableError as error:
            report.problems.append(str(error))
    return report


def lint_stdin(filename: str) -> Report:
    """Check the source on stdin as if it was in a file."""
    report = Report(files=1)
    try:
        source = decode(sys.stdin.buffer.read(), filename)
        report.findings = check_source(source, filename)
    except UnreadableError as error:
        report.problems = [str(error)]
    return report


def check_paths(paths: Iterable[Path | str]) -> list[Finding]:
    """Return the findings in files and folders; raise UnreadableError if there is a bad path."""
    report = lint(paths)
    if report.problems:
        raise UnreadableError(report.problems[0])
    return report.findings


def known_rules(names: Iterable[str]) -> list[str]:
    """Return the names of rules in capitals; raise ValueError if there is no such rule."""
    rules = [name.strip().upper() for name in names if name.strip()]
    for name in rules:
        if name not in RULES:
            raise ValueError(f"unknown rule {name}; the rules are {', '.join(RULES)}")
    return rules


def rule_list(text: str) -> list[str]:
    """Return the rules that an option names."""
    try:
        rules = known_rules(text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not rules:
        raise argparse.ArgumentTypeError(f"no rule is named; the rules are {', '.join(RULES)}")
    return rules


def version() -> str:
    """Return the version of the installed command. README.md of a project says that of its copy."""
    try:
        return metadata.version("cookiecutter-streamlit-progress")
    except metadata.PackageNotFoundError:
        return "(a copy)"


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(prog="fragment-lint", description=USAGE, epilog=EXIT)
    options.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="file, folder, or - for stdin"
    )
    options.add_argument("--select", type=rule_list, metavar="RULES", help="check these rules only")
    options.add_argument("--ignore", type=rule_list, metavar="RULES", help="leave out these rules")
    options.add_argument("--exclude", action="append", metavar="GLOB", help="leave out these paths")
    options.add_argument("--format", choices=FORMATS, default="text")
    options.add_argument("--stdin-filename", default="stdin.py", metavar="PATH")
    options.add_argument("--explain", type=rule_list, metavar="RULE", help="describe a rule")
    options.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the paths of the command line, print the findings and return the exit code."""
    options = parser().parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return explain(options.explain) if options.explain else run(options)
    except BrokenPipeError:  # `fragment-lint | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def explain(names: Iterable[str]) -> int:
    """Print what rules are about."""
    for name in names:
        rule = RULES[name]
        bad, good = (indent(text, "    ") for text in (rule.bad, rule.good))
        print(f"{name} {rule.name} ({rule.severity}): {rule.finds}\n\n{rule.why}")
        print(f"Measured: {rule.measured}\nFix: {rule.fix}\n\nBad:\n\n{bad}\nGood:\n\n{good}")
    return 0


def run(options: argparse.Namespace) -> int:
    """Check what the options say, print the findings and return the exit code."""
    root = project_root(Path.cwd())
    try:
        settings = configuration(root)
        selected = options.select or known_rules(settings.get("select", RULES))
        left_out = options.ignore or known_rules(settings.get("ignore", ()))
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"{root / 'pyproject.toml'}: {error}", file=sys.stderr)
        return 2
    if options.paths == ["-"]:
        report = lint_stdin(options.stdin_filename)
    else:
        report = lint(options.paths, options.exclude or settings.get("exclude", ()), root)
    chosen = set(selected) - set(left_out)
    report.findings = [item for item in report.findings if item.rule.split()[0] in chosen]
    if text := render(report, options.format, version()):
        print(text, flush=True)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.findings or not report.files:
        print(report.summary(), file=sys.stderr)
    if report.problems:
        return 2
    return 1 if report.findings else 0
