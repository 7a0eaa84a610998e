"""What the fragment linter finds in packages from the registry, each finding judged by a person.

A line of findings.txt: verdict, path:line, rule, severity, reason. `true` is a mistake. What is
`debatable` is safe or wanted there, and a pattern to avoid. `false` is a fault of the linter.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import PROJECT, ROOT

sys.path.insert(0, str(PROJECT))

from dev.fragment_lint.command import lint

FOREIGN = ROOT / "tests" / "foreign"


def install(folder: Path) -> None:
    """Install the packages in a folder, without what they need."""
    command = [os.environ.get("UV", "uv"), "pip", "install", "--quiet", "--target", str(folder)]
    command += ["--no-deps", "--only-binary", ":all:", "--python-version", "3.13"]
    command += ["--requirement", str(FOREIGN / "packages.txt")]
    subprocess.run(command, check=True)


@pytest.fixture
def verdicts() -> dict[str, str]:
    """The verdict on each finding."""
    lines = (FOREIGN / "findings.txt").read_text("utf-8").splitlines()
    rows = [line.split(maxsplit=4) for line in lines]
    assert all(len(row) == 5 for row in rows), "a finding has no reason"
    return {" ".join(place): verdict for verdict, *place, _ in rows}


# One test: it takes a while to install and read them.
def test_each_finding_is_judged_and_only_what_python_refuses_is_not_checked(
    tmp_path: Path, verdicts: dict[str, str]
) -> None:
    install(tmp_path)
    report = lint([tmp_path], root=tmp_path)
    found = [
        f"{Path(item.file).relative_to(tmp_path).as_posix()}:{item.line} {item.rule[:4]} "
        f"{item.severity}"
        for item in report.findings
    ]
    assert sorted(found) == sorted(verdicts)
    assert report.files > 1_000
    files = (Path(problem.rpartition(".py:")[0] + ".py") for problem in report.problems)
    assert {file.relative_to(tmp_path).as_posix() for file in files} <= {
        "streamlit_app_generator/wizard.py",  # quotes that Python 3.12 allows
        "tests/test_simple.py",  # not UTF-8
    }


def test_few_findings_are_false_and_all_errors_are_true(verdicts: dict[str, str]) -> None:
    counts = Counter(verdicts.values())
    assert counts.keys() <= {"true", "debatable", "false"}
    assert counts["false"] <= 0.05 * counts.total()
    errors = {verdict for place, verdict in verdicts.items() if place.endswith(" error")}
    assert errors == {"true"}
