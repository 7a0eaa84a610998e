"""What `make doctor` says of the reference service, and of services that answer otherwise."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from dev.doctor import Check, checks
from progress.backend.connection import ProgressConnection
from progress.backend.profiles import airflow
from progress.settings import ROOT, load_settings
from tests.app.fault_server import Request, fault_server
from tests.conftest import wait_for_end

SECRET = "hush-4711"


def found() -> dict[str, Check]:
    """Return all lines, by name; none of them has the token."""
    lines = {check.name: check for check in checks()}
    assert not any(SECRET in check.message for check in lines.values())
    return lines


def failed() -> dict[str, str]:
    return {check.name: check.message for check in found().values() if not check.ok}


def answer(request: Request) -> None:
    """Answer as a service without operations."""
    if request.command == "GET" and "?" in request.path:
        request.answer({"operations": []})
    else:
        request.answer({"title": "There is no such operation."}, 404)


@pytest.fixture
def patch(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The mapping is that of the reference service, and the token is a secret."""
    monkeypatch.setenv("PROGRESS_API_TOKEN", SECRET)
    return monkeypatch


def test_the_reference_service_is_ok(
    connection: ProgressConnection, started: Callable[[str, str], str]
) -> None:
    wait_for_end(connection, started("succeed", "fast"))
    lines = found()
    assert all(check.ok for check in lines.values())
    assert lines["mapping"].message.startswith("the latest ")


def test_the_command_prints_no_token_and_fails(patch: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "dev.doctor", *arguments],
            cwd=ROOT,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        assert "answered 401 Unauthorized" in done.stdout
        assert SECRET not in done.stdout
    assert [check["name"] for check in json.loads(done.stdout) if not check["ok"]] == ["connection"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "No service is configured."),
        ("http://127.0.0.1:1", "GET 127.0.0.1"),
        (f"https://me:{SECRET}@jobs.example.com", "The url under [connections.progress] in"),
    ],
)
def test_a_service_that_cannot_be_reached_is_named(
    patch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    patch.setenv("PROGRESS_API_URL", url)
    lines = failed()
    assert lines.keys() == {"connection"}
    assert lines["connection"].startswith(message)


def test_a_token_that_may_only_read_is_named(patch: pytest.MonkeyPatch) -> None:
    def refuse_to_write(request: Request) -> None:
        if request.command == "POST":
            request.answer({"title": "This token may only read."}, 403)
        else:
            answer(request)

    with fault_server(refuse_to_write) as server:
        patch.setenv("PROGRESS_API_URL", server.url)
        lines = failed()
    assert lines.keys() == {"rights"}
    assert "This token may only read. Check the credentials under" in lines["rights"]


def test_an_operation_that_the_mapping_cannot_read_is_named(patch: pytest.MonkeyPatch) -> None:
    def answer_otherwise(request: Request) -> None:
        if "?" in request.path and "owner=" not in request.path:
            request.answer({"operations": [{"operation_id": "a1", "status": "DONE"}]})
        else:
            answer(request)

    with fault_server(answer_otherwise) as server:
        patch.setenv("PROGRESS_API_URL", server.url)
        lines = failed()
    assert lines.keys() == {"mapping"}
    assert lines["mapping"].startswith("a1: status 'DONE' is not one of queued, in_progress,")
    assert lines["mapping"].endswith(": correct progress/backend/service.py.")


def test_a_list_that_fails_is_one_line(patch: pytest.MonkeyPatch) -> None:
    def fail_to_list(request: Request) -> None:
        if "?" in request.path and "owner=" not in request.path:
            request.answer({"title": "Too many operations."}, 422)
        else:
            answer(request)

    with fault_server(fail_to_list) as server:
        patch.setenv("PROGRESS_API_URL", server.url)
        lines = failed()
    assert lines.keys() == {"backend"}
    assert "Too many operations" in lines["backend"]


def test_polls_that_are_slow_for_the_interval_are_named(patch: pytest.MonkeyPatch) -> None:
    def answer_late(request: Request) -> None:
        time.sleep(0.3)
        answer(request)

    with fault_server(answer_late) as server:
        patch.setenv("PROGRESS_API_URL", server.url)
        lines = failed()
    assert lines.keys() == {"poll latency"}
    assert "ms, the median of 5; poll_interval is 0.5 s: set poll_" in lines["poll latency"]
    assert 'poll_interval = "1s"' in lines["poll latency"]


def test_credentials_in_clear_text_are_named(patch: pytest.MonkeyPatch) -> None:
    with fault_server(answer) as proxy:
        patch.setenv("PROGRESS_API_PROXY", proxy.url)
        patch.setenv("PROGRESS_API_URL", "http://jobs.example.com/api")
        message = "The credentials go to jobs.example.com in clear text: use https:// in the url."
        assert failed() == {"encryption": message}
        for private in ("http://jobs:8080", "http://10.1.2.3", "http://jobs.internal"):
            patch.setenv("PROGRESS_API_URL", private)
            assert failed() == {}


def test_what_has_no_effect_with_a_service_is_named(patch: pytest.MonkeyPatch) -> None:
    used = replace(load_settings(), keep=3600.0)
    patch.setattr("dev.doctor.load_settings", lambda: used)
    names = {"keep", "time_limit", "retries", "max_running"}
    assert not names & found().keys(), "the reference service has them all"
    with fault_server(answer) as server:
        patch.setenv("PROGRESS_API_URL", server.url)
        patch.setattr("dev.backend_checks.load_service", lambda: airflow("a"))
        lines = found()
    assert names < lines.keys()
    assert lines["retries"].message == (
        'no effect with this backend: "{options}" is not in `start` of progress/backend/service.py'
    )
