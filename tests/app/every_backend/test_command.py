"""`python -m progress` with the backend of this project."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
import streamlit as st
from pydantic import BaseModel
from rich.console import Console

from progress.__main__ import EXIT_CODES, main
from progress.backend.connection import ProgressConnection
from progress.job import Job
from progress.operation import Log, LogLine, Status, is_operation_id, new_operation_id
from progress.settings import ROOT
from tests.conftest import OWNER, wait_until

pytestmark = pytest.mark.usefixtures("environment")


@pytest.mark.parametrize(("job", "code"), [("succeed", 0), ("fail", 1), ("partial", 3)])
def test_start_follows_to_the_end_and_its_exit_code_is_the_status(
    capsys: pytest.CaptureFixture[str], job: str, code: int
) -> None:
    assert main(["start", job, "fast", "--follow"]) == code
    printed = capsys.readouterr()
    operation_id = printed.out.strip()
    assert " after " in printed.err
    assert main(["status", operation_id]) == code
    row = json.loads(capsys.readouterr().out)
    assert row["job"] == job
    assert isinstance(row["last_steps"], list)
    if row["last_steps"]:  # not every service has them
        assert row["last_steps"][0]["description"].startswith("Step number 1")


def test_text_of_a_job_is_no_markup_beside_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setattr("progress.__main__.err.is_interactive", True)
    monkeypatch.setattr("tests.jobs.subjects", lambda: ["[/a]"])
    assert main(["start", "succeed", "[/a]", "--follow"]) == 0
    assert "`[/a]`" in capsys.readouterr().err


def test_an_id_is_printed_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("progress.__main__.out.width", 20)
    operation_id = f"nightly-{new_operation_id()}"
    assert main(["start", "succeed", "fast", "--id", operation_id]) == 0
    assert capsys.readouterr().out == f"{operation_id}\n"


def test_parameters_are_checked_before_the_start(
    connection: ProgressConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "work", "--param", "rows=2", "--param", 'columns=["b"]']) == 0
    operation_id = capsys.readouterr().out.strip()
    parameters = connection.read([operation_id])[operation_id].options.parameters
    assert (parameters["rows"], parameters["columns"], parameters["mode"]) == (2, ["b"], "fast")
    for wrong, message in {
        "rows=200": "rows: Input should be less than or equal to 100",
        "rows": "--param 'rows' has no '='",
        "factor=Infinity": "ValueError: Out of range float values are not JSON compliant",
        "=1": "This job has no parameter ''; it has rows, factor, name,",
        "other=1": "This job has no parameter 'other'; it has rows, factor, name,",
        f"rows={'[' * 100_000}": "rows: Input should be a valid integer",
    }.items():
        assert main(["start", "work", "--param", wrong]) == 2
        assert message in capsys.readouterr().err


class Level(StrEnum):
    LOW = "1"
    HIGH = "2"


class Inner(BaseModel):
    text: str


class Typed(BaseModel):
    """A parameter of each type."""

    text: str = ""
    optional: str | None = "x"
    choice: Literal["1", "2"] = "1"
    level: Level = Level.LOW
    day: date | None = None
    texts: list[str] = []
    number: int | None = 1
    share: float = 0
    price: Decimal = Decimal(0)
    flag: bool = False
    step: Literal[1, 2] = 1
    counts: dict[str, int] = {}
    inner: Inner | None = None
    either: int | list[str] = 0


def typed(report: object, parameters: Typed) -> None:
    """A job with these parameters."""


JOBS = {"typed": Job(typed, subjects=None, parameters=Typed)}


@pytest.mark.parametrize(
    "given",
    [
        {
            "text": ("123", "123"),
            "optional": ("1.0", "1.0"),
            "choice": ("2", "2"),
            "level": ("2", "2"),
            "day": ("2026-01-01", "2026-01-01"),
            "texts": ('["1", "b"]', ["1", "b"]),
            "number": ("5", 5),
            "share": ("1e3", 1000.0),
            "price": ("19.99", "19.99"),
            "flag": ("true", True),
            "step": ("2", 2),
            "counts": ('{"a": 1}', {"a": 1}),
            "inner": ('{"text": "7"}', {"text": "7"}),
            "either": ('["1"]', ["1"]),
        },
        {
            "text": ("null", "null"),
            "optional": ("null", None),
            "number": ("null", None),
            "flag": ("yes", True),
            "either": ("7", 7),
        },
        {"text": ('"a"=b', '"a"=b'), "optional": ("true", "true"), "day": ("null", None)},
        {"text": ("", ""), "optional": ("", "")},
    ],
)
def test_text_stays_text_and_the_rest_is_json(
    connection: ProgressConnection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, tuple[str, Any]],
) -> None:
    monkeypatch.setenv("JOBS_MODULE", __name__)
    texts = [part for name, (text, _) in given.items() for part in ("--param", f"{name}={text}")]
    assert main(["start", "typed", *texts]) == 0
    operation_id = capsys.readouterr().out.strip()
    stored = connection.read([operation_id])[operation_id].options.parameters
    assert {name: stored[name] for name in given} == {
        name: value for name, (_, value) in given.items()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "nothing", "fast"], "There is no job 'nothing'; the jobs are succeed, fail,"),
        (["start", "succeed"], "This job needs a SUBJECT"),
        (["start", "work", "fast"], "This job has no subject: remove 'fast'"),
        (["start", "succeed", "other"], "no subject 'other'; the subjects are fast, slow."),
        (["start", "count", "fast"], "no subject 'fast'; the subjects are lines, words."),
        (["start", "succeed", "\udcff"], r"no subject '\udcff'; the subjects are fast, slow."),
        (["start", "succeed", "fast", "--param", "a=1"], "This job has no parameters"),
        (
            ["start", "work", "--param", "rows=2", "--param", "rows=3"],
            "--param rows is given twice",
        ),
        (
            ["start", "work", "--param", "name=3", "--param", "day=x"],
            "day: Input should be a valid",
        ),
        (["start", "succeed", "fast", "--id", "a b"], "--id 'a b' is invalid. Use 1 to 200 of"),
        (["start", "succeed", "fast", "--id", ""], "--id '' is invalid. Use 1 to 200 of"),
        (["start", "succeed", "fast", "--owner", "x" * 2001], "has 2,001 characters"),
        (["start", "keep", "no/such/file.csv"], "'no/such/file.csv' cannot be read: No such file"),
        (["start", "keep", "a\n.csv"], r"'a\n.csv' cannot be read: No such file"),
        (["start", "keep", "a\0.csv"], r"'a\x00.csv' cannot be read: "),
        (["start", "keep", "pyproject.toml"], "'pyproject.toml': this job takes .csv, .txt."),
        (["status", "unknown"], "There is no operation with the id 'unknown'"),
        (["follow", "unknown"], "There is no operation with the id 'unknown'"),
        (["cancel", "unknown"], "There is no operation with the id 'unknown'"),
        (["log", "unknown"], "There is no operation with the id 'unknown'"),
        (["status", "a\0\udcff"], r"There is no operation with the id 'a\x00\udcff'"),
        (["list", "--limit", "0"], "--limit 0 is not between 1 and 100000."),
        (["list", "--limit", "9" * 30], "is not between 1 and 100000."),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1


def test_an_operation_is_cancelled_listed_and_not_started_twice(
    connection: ProgressConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    operation_id = new_operation_id()
    start = ["start", "endless", "fast", "--id", operation_id, "--owner", OWNER]
    assert main(start) == 0
    assert main([*start[:1], "fail", *start[2:]]) == 0, "the same id starts nothing"
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    assert main(["status", operation_id]) == 5
    assert main(["cancel", operation_id]) == 0
    assert main(["follow", operation_id]) == 4
    capsys.readouterr()
    assert main(["list", "--json", "--owner", OWNER, "--limit", "5"]) == 0
    listed = {row["operation_id"]: row for row in json.loads(capsys.readouterr().out)}
    assert datetime.fromisoformat(listed[operation_id]["created_at"]).tzinfo
    assert (listed[operation_id]["job"], listed[operation_id]["status"]) == ("endless", "cancelled")
    assert main(["list", "--limit", "5"]) == 0
    assert operation_id in capsys.readouterr().out


def test_the_log_is_printed(
    connection: ProgressConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["start", "count", "lines", "--follow"])
    operation_id = capsys.readouterr().out.strip()
    code = main(["log", operation_id])
    if "logs" in connection.features:
        assert code == 0
        assert " → printed\n" in capsys.readouterr().out
    else:
        assert code == 2
        assert capsys.readouterr().err == "This backend has no logs.\n"


def test_the_log_says_that_older_lines_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["start", "succeed", "fast", "--follow"])
    operation_id = capsys.readouterr().out.strip()
    log = Log((LogLine(datetime.now(UTC), "a line"),), 7)
    monkeypatch.setattr(ProgressConnection, "logs", lambda self, ids, limit: {operation_id: log})
    assert main(["log", operation_id]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith(" a line\n")
    assert printed.err == "7 older lines were removed.\n"


def test_a_job_is_stopped_by_force_if_the_backend_can_do_that(
    connection: ProgressConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    operation_id = new_operation_id()
    assert main(["start", "stubborn", "fast", "--id", operation_id]) == 0
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    capsys.readouterr()
    if "force_stop" in connection.features:
        assert main(["cancel", operation_id, "--force"]) == 0
    else:
        assert main(["cancel", operation_id, "--force"]) == 2
        assert capsys.readouterr().err == (
            "This backend cannot stop a job by force. Without --force it is asked to stop.\n"
        )
        assert main(["cancel", operation_id]) == 0
    assert main(["follow", operation_id]) == 4


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    terminal = Console(file=printed, force_terminal=True, width=120)
    monkeypatch.setattr("progress.__main__.err", terminal)
    assert main(["start", "succeed", "slow", "--follow"]) == 0
    assert "in_progress: Step number" in printed.getvalue()
    assert re.search(r"[1-9]\d?%", printed.getvalue())


def test_a_file_is_a_subject(
    connection: ProgressConnection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a b.csv"
    path.write_text("1,2\n", "utf-8")
    code = main(["start", "keep", str(path), "--follow"])
    if "uploads" not in connection.features:
        assert code == 2
        return
    assert code == 0
    operation_id = capsys.readouterr().out.strip()
    operation = connection.read([operation_id])[operation_id]
    assert (operation.status, operation.subject) == (Status.COMPLETED, "a b.csv")
    assert connection.read_file(operation_id, "copy of it.txt") == b"1,2\n"
    # As a page stores it: what removes this operation leaves the file to others.
    assert operation.options.upload == hashlib.sha256(b"1,2\n").hexdigest()


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(2**20 + 1)
    assert main(["start", "keep", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("is larger than 1 MB: see maxUploadSize in .streamlit/config.toml.")


def test_what_was_started_is_not_refused_when_it_is_no_longer_offered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    command = ["start", "succeed", "fast", "--id", operation_id]
    assert main(command) == 0
    monkeypatch.setattr("tests.jobs.subjects", lambda: [])
    assert main([*command, "--follow"]) == 0
    capsys.readouterr()
    assert main(command[:3]) == 2
    assert capsys.readouterr().err.endswith("no subject 'fast'; the subjects are none.\n")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import time\nimport nothing_there",
            "jobs.py cannot be imported: ModuleNotFoundError: No module named 'nothing_there'"
            " (PLACE, line 2)",
        ),
        (
            "1 / 0",
            "jobs.py cannot be imported: ZeroDivisionError: division by zero (PLACE, line 1)",
        ),
        ("raise SystemExit(3)", "jobs.py cannot be imported: SystemExit: 3 (PLACE, line 1)"),
        ("raise OSError('a\\nb')", "jobs.py cannot be imported: OSError: a b (PLACE, line 1)"),
        ("\ndef (", "jobs.py cannot be imported: SyntaxError: invalid syntax (NAME, line 2)"),
        ("JOBS = []", "jobs.py has no JOBS: it must be a dict that names at least one function."),
        ("", "jobs.py has no JOBS: it must be a dict that names at least one function."),
        ("JOBS = {}", "There is no job 'run'; the jobs are none."),
        (
            "def subjects():\n    raise OSError('gone')\nJOBS = {'run': lambda report, subject: 1}",
            "The subjects cannot be listed: OSError: gone (PLACE, line 2)",
        ),
        ("JOBS = {'run': lambda: 1}", "The job 'run' takes (): it must take (report, subject)."),
    ],
)
def test_an_error_in_the_jobs_is_one_line(
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    message: str,
) -> None:
    path = data_folder / f"jobs_{new_operation_id()}.py"
    path.write_text(source, "utf-8")
    monkeypatch.syspath_prepend(data_folder)
    monkeypatch.setenv("JOBS_MODULE", path.stem)
    assert main(["start", "run", "fast"]) == 2
    message = message.replace("PLACE", str(path.relative_to(ROOT))).replace("NAME", path.name)
    assert capsys.readouterr().err == f"{message}\n"


UNREACHABLE = {
    "PROGRESS_DATABASE": "/proc/none/progress.db",
    "DATABASE_URL": "postgresql://me@127.0.0.1:1/x",
    "PROGRESS_API_URL": "http://127.0.0.1:1",
    "PROGRESS_CONNECTION": json.dumps(
        {"account": "a", "user": "u", "password": "p", "host": "127.0.0.1", "port": 1}
    ),
}


@pytest.mark.parametrize("command", [["list"], ["status", "a"], ["start", "succeed", "fast"]])
def test_a_backend_that_cannot_be_reached_has_an_exit_code_of_its_own(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    (name,) = UNREACHABLE.keys() & environment.keys()
    monkeypatch.setenv(name, UNREACHABLE[name])
    assert main(command) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("The backend is unavailable: ")


def test_an_unexpected_error_of_the_connection_is_a_line_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: ProgressConnection, **kwargs: object) -> None:
        raise TypeError("hush")

    st.cache_resource.clear()
    monkeypatch.setattr(ProgressConnection, "_connect", fail)
    assert main(["list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("(TypeError): check [connections] in .streamlit/secrets.toml.")


def test_ctrl_c_without_an_operation_to_follow_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressConnection, "recent", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


COMMAND = [sys.executable, "-m", "progress"]


def test_an_invalid_setting_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "progress", tmp_path / "progress")
    text = (ROOT / "settings.toml").read_text("utf-8")
    text = text.replace("poll_interval = ", 'poll_interval = "x" # ')
    (tmp_path / "settings.toml").write_text(text, "utf-8")
    done = subprocess.run([*COMMAND, "list"], stderr=subprocess.PIPE, cwd=tmp_path, text=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("settings.toml: poll_interval: 'x' is not a duration.")
    assert done.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")
@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["start", "succeed", "fast"]])
def test_an_output_that_is_closed_is_neither_an_error_nor_an_outcome(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
    assert 141 not in EXIT_CODES.values()


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_ctrl_c_ends_the_following_and_not_the_operation(connection: ProgressConnection) -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and so do the children of that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [*COMMAND, "start", "endless", "fast", "--follow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        operation_id = process.stdout.readline().strip()
        assert is_operation_id(operation_id)
        wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=30)
    assert process.returncode == 5
    assert printed.splitlines()[-1] == "The operation goes on."
    assert "Traceback" not in printed
    assert connection.read([operation_id])[operation_id].status == Status.IN_PROGRESS
    connection.cancel(operation_id)
