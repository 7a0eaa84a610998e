"""How findings are printed: as text, for GitHub, as JSON and as SARIF."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .findings import Finding
from .rules import RULES

# What GitHub Actions and SARIF call a severity.
GITHUB = {"error": "error", "warning": "warning", "advice": "notice"}
SARIF = {"error": "error", "warning": "warning", "advice": "note"}


@dataclass
class Report:
    """What a run found: the findings, and one line for each path that could not be checked."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: int = 0

    def summary(self) -> str:
        """Return one line: how many findings of each severity."""
        count, files = len(self.findings), len({item.file for item in self.findings})
        text = f"{count} finding{'s' * (count != 1)} in {files} of {self.files} files"
        kinds = [item.severity for item in self.findings]
        parts = [f"{kinds.count(name)} {name}" for name in GITHUB if name in kinds]
        return f"{text}: {', '.join(parts)}" if parts else text


def render(report: Report, kind: str, version: str) -> str:
    """Return the findings of a report in a format."""
    if kind == "json":
        return json.dumps([asdict(item) for item in report.findings], indent=2)
    if kind == "sarif":
        return json.dumps(sarif(report, version), indent=2)
    return "\n".join(github(item) if kind == "github" else str(item) for item in report.findings)


def github(item: Finding) -> str:
    """Return a finding as an annotation of GitHub Actions."""

    def escape(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    file = escape(item.file).replace(":", "%3A").replace(",", "%2C")
    place = f"file={file},line={item.line},col={item.column}"
    place += f",endLine={item.end_line},endColumn={item.end_column},title={item.rule}"
    return f"::{GITHUB[item.severity]} {place}::{escape(f'{item.message}. Fix: {item.fix}')}"


def sarif(report: Report, version: str) -> dict[str, Any]:
    """Return a report as SARIF 2.1.0, which code scanning reads."""
    rules = [
        {
            "id": code,
            "name": rule.name,
            "shortDescription": {"text": rule.name.replace("-", " ")},
            "fullDescription": {"text": rule.why},
            "help": {"text": f"{rule.why} Fix: {rule.fix}"},
            "defaultConfiguration": {"level": SARIF[rule.severity]},
        }
        for code, rule in RULES.items()
    ]
    notes = [{"level": "error", "message": {"text": problem}} for problem in report.problems]
    invocation = {"executionSuccessful": not notes, "toolExecutionNotifications": notes}
    driver = {"name": "fragment-lint", "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [invocation],
        "results": [result(item) for item in report.findings],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return {"$schema": schema, "version": "2.1.0", "runs": [run]}


def result(item: Finding) -> dict[str, Any]:
    """Return a finding as a result of SARIF."""
    code = item.rule.split()[0]
    path = Path(item.file)
    region = {
        "startLine": item.line,
        "startColumn": item.column,
        "endLine": item.end_line,
        "endColumn": item.end_column,
    }
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="replace")
    place = {"artifactLocation": {"uri": uri}, "region": region}
    return {
        "ruleId": code,
        "ruleIndex": list(RULES).index(code),
        "level": SARIF[item.severity],
        "message": {"text": f"{item.message}. Fix: {item.fix}"},
        "locations": [{"physicalLocation": place}],
    }
