"""Findings: made from what the rules report, minus those that a comment accepts."""

import ast
import io
import re
import tokenize
from dataclasses import dataclass

from .app import App
from .checks import Found, check
from .model import Project
from .rules import ADVICE, RULES

TOOL = "fragment-lint"
COMMENT = re.compile(r"#\s*fragment-lint:\s*ignore(-file)?\b\s*(?:\[([^\]]*)\]|([A-Z0-9, ]*))")


class UnreadableError(ValueError):
    """A path or a source that cannot be checked; its text is one line for the user."""


@dataclass(frozen=True, order=True)
class Finding:
    """One mistake in a file. Lines and columns start at 1; the end is the first column after it."""

    file: str
    line: int
    column: int
    rule: str
    message: str
    fix: str
    severity: str
    end_line: int
    end_column: int

    def __str__(self) -> str:
        """Return the line that the command prints."""
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.rule}: {self.message}. Fix: {self.fix} [{self.severity}]"


def check_source(source: str, filename: str, project: Project | None = None) -> list[Finding]:
    """Return the findings in `source`; imports are looked up in the folders around `filename`.

    `project` keeps what was read of other files, for the next call.
    """
    return check_app(read_app(source, filename, project or Project()))


def read_app(source: str, filename: str, project: Project) -> App:
    """Return a module, which the others of the project then know."""
    try:
        app = App(source, filename, project)
    except (SyntaxError, RecursionError) as error:
        line, reason = getattr(error, "lineno", None) or 1, getattr(error, "msg", error)
        raise UnreadableError(f"{filename}:{line}: cannot be parsed: {reason}") from error
    project.modules[app.path] = app
    return app


def check_app(app: App) -> list[Finding]:
    """Return the findings in a module."""
    try:
        found = [*check(app)]
        ignores = ignore_comments(app.lines)
    except (SyntaxError, RecursionError) as error:
        raise UnreadableError(f"{app.filename}:1: cannot be parsed: {error}") from error
    findings: dict[tuple[int, str], Finding] = {}
    used: set[tuple[int, str]] = set()
    for item in found:
        lines = (0, *lines_of(app, item.node))
        accepted = {(line, item.rule) for line in lines} & ignores.keys()
        used |= accepted
        if not accepted:
            findings.setdefault((item.node.lineno, item.rule), make(app, item))
    for (accepts, rule), (line, start, end) in ignores.items():
        if (accepts, rule) not in used:
            what = f"accepts no {rule}" if rule in RULES else f"names no rule ({rule or 'empty'})"
            place = ast.Pass(lineno=line, col_offset=start, end_lineno=line, end_col_offset=end)
            unused = make(app, Found("FC00", place, f"the comment {what} here", ADVICE))
            findings[line, f"FC00 {rule}"] = unused
    return sorted(findings.values())


def make(app: App, found: Found) -> Finding:
    """Return the finding for what a rule reports; of a block, the first line is its place."""
    rule, node = RULES[found.rule], found.node
    start = node.lineno, app.column(node.lineno, node.col_offset)
    if hasattr(node, "body"):
        end = node.lineno, len(app.lines[node.lineno - 1]) + 1
    else:
        line = node.end_lineno or node.lineno
        end = line, app.column(line, node.end_col_offset or 0)
    name = f"{found.rule} {rule.name}"
    severity = found.severity or rule.severity
    fix = found.fix or rule.fix
    return Finding(app.filename, *start, name, found.message, fix, severity, *end)


def lines_of(app: App, node: ast.AST) -> range:
    """Return the lines of the statement of a node; of a block, those of its head."""
    while not isinstance(node, ast.stmt):
        node = app.parents[node]
    first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
    last = node.end_lineno or node.lineno
    if body := getattr(node, "body", getattr(node, "cases", None)):
        start = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
        decorators = [item.lineno for item in getattr(start, "decorator_list", [])]
        last = max(node.lineno, min([start.lineno, *decorators]) - 1)
    return range(first, last + 1)


def ignore_comments(lines: list[str]) -> dict[tuple[int, str], tuple[int, int, int]]:
    """Return line (0: all) and rule that each comment accepts, with its own line and columns."""
    found: dict[tuple[int, str], tuple[int, int, int]] = {}
    if not any(TOOL in line for line in lines):
        return found
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        match = COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
        if match:
            of_file, listed, plain = match.groups()
            line, column = token.start
            start = len(lines[line - 1][:column].encode())
            for rule in re.split(r"[,\s]+", (plain if listed is None else listed).strip()):
                place = line, start, start + len(token.string.encode())
                found[0 if of_file else line, rule] = place
    return found
