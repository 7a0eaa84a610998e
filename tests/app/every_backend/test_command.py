"""`python -m progress` with the backend of this project."""

import json
from pathlib import Path

import pytest

from progress.__main__ import main
from progress.backend.connection import ProgressConnection
from progress.operation import Status, new_operation_id
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
    assert json.loads(capsys.readouterr().out)["job"] == job


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
        "other=1": "This job has no parameter other",
    }.items():
        assert main(["start", "work", "--param", wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "nothing", "fast"], "There is no job 'nothing'; the jobs are succeed, fail,"),
        (["start", "succeed"], "This job needs a SUBJECT"),
        (["start", "work", "fast"], "This job has no subject: remove 'fast'"),
        (["start", "succeed", "fast", "--param", "a=1"], "This job has no parameters"),
        (["start", "keep", "no/such/file"], "No such file"),
        (["status", "unknown"], "There is no operation with the id 'unknown'"),
        (["cancel", "unknown"], "There is no operation with the id 'unknown'"),
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
    start = ["start", "endless", "steady", "--id", operation_id, "--owner", OWNER]
    assert main(start) == 0
    assert main([*start[:1], "fail", *start[2:]]) == 0, "the same id starts nothing"
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    assert main(["status", operation_id]) == 5
    assert main(["cancel", operation_id]) == 0
    assert main(["follow", operation_id]) == 4
    capsys.readouterr()
    assert main(["list", "--json", "--owner", OWNER, "--limit", "5"]) == 0
    listed = {row["operation_id"]: row for row in json.loads(capsys.readouterr().out)}
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


def test_a_file_is_a_subject(
    connection: ProgressConnection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a b.csv"
    path.write_text("1,2\n", "utf-8")
    code = main(["start", "keep", str(path), "--follow"])
    if "files" not in connection.features:
        assert code == 2
        return
    assert code == 0
    operation_id = capsys.readouterr().out.strip()
    operation = connection.read([operation_id])[operation_id]
    assert (operation.status, operation.subject) == (Status.COMPLETED, "a b.csv")
    assert connection.read_file(operation_id, "copy of it.txt") == b"1,2\n"
