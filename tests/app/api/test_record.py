"""Recorded answers: of real services, without secrets, and what the tests make of them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dev import record
from progress.backend import reference
from progress.backend.connection import ProgressConnection
from progress.operation import new_operation_id
from tests.app.fault_server import Request, fault_server
from tests.conftest import OWNER, wait_for_end


def test_an_answer_of_the_reference_service_is_recorded(
    connection: ProgressConnection, started: Callable[..., str], tmp_path: Path
) -> None:
    operation_id = started("partial")
    ended = wait_for_end(connection, operation_id)
    path = record.record(operation_id, tmp_path / "recorded")
    assert path.name == "partial.json"
    recorded = json.loads(path.read_text("utf-8"))
    assert recorded["body"]["operation_id"] == operation_id
    assert recorded["body"]["error"] == ended.error
    assert record.read(reference.SERVICE, recorded["body"]) == recorded["operation"]
    seen = recorded["operation"]
    assert (seen["status"], seen["owner"], seen["failed_steps"]) == ("partial", OWNER, 2)
    assert (seen["problem"], "read_at" in seen) == (None, False)


def test_another_mapping_reads_a_recorded_answer_differently() -> None:
    body = {"operation_id": "a", "status": "completed", "job": "j", "current_step": 3}
    read = record.read(reference.SERVICE, body)
    assert read == {**body, "problem": None}
    assert record.read(reference.SERVICE, {**body, "status": "done"})["status"] == "in_progress"


GITHUB = """
from progress.backend.profiles import github_actions

SERVICE = github_actions("a/b", "c.yml")
"""


def test_the_answer_to_a_read_is_recorded_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = new_operation_id()
    run = {
        "id": 7,
        "display_title": f"j: s [{operation_id} me@example.com]",
        "status": "completed",
        "conclusion": "success",
        "html_url": "https://example.com/7?a=b&X-Signature=hush&c=d",
        "inputs": [{"api_key": "hush", "Access-Token": {"value": "hush"}, "rows": 3}],
        "parameters": [
            {"name": "api_token", "default": "", "value": "hush"},
            {"key": "password", "value": "hush"},
            {"name": "rows", "value": "3"},
        ],
        "echo": "you sent Bearer the-secret-token",
    }

    def answer(request: Request) -> None:
        listing = {"workflow_runs": [{**run, "echo": "of the list"}]}
        request.answer(listing if "/workflows/" in request.path else run)

    (tmp_path / "own_github.py").write_text(GITHUB, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SERVICE_MODULE", "own_github")
    with fault_server(answer) as server:
        monkeypatch.setenv("PROGRESS_API_URL", server.url)
        monkeypatch.setenv("PROGRESS_API_TOKEN", "the-secret-token")
        text = record.record(operation_id, tmp_path).read_text("utf-8")
    assert "hush" not in text
    assert "the-secret-token" not in text
    body = json.loads(text)["body"]
    assert body["html_url"] == "https://example.com/7?a=b&X-Signature=(left out)&c=d"
    assert body["inputs"] == [
        {"api_key": "(left out)", "Access-Token": "(left out)", "rows": 3},
    ]
    assert [pair["value"] for pair in body["parameters"]] == ["(left out)", "(left out)", "3"]
    assert body["echo"].startswith("you sent")
    assert json.loads(text)["operation"]["job"] == "j"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [([], 2, "Name an operation"), ([""], 2, "Name an"), (["no-such"], 1, "has no operation")],
)
@pytest.mark.usefixtures("environment")
def test_a_wrong_id_is_one_line(
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[Any],
) -> None:
    monkeypatch.setattr(sys, "argv", ["record", *arguments])
    assert record.main() == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
