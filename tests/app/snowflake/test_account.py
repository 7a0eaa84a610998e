"""The connection to Snowflake: threads, restarts, logins, errors and options."""

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from snowflake import connector
from snowflake.connector.network import SnowflakeRestful
from streamlit.testing.v1 import AppTest

from dev.local_server import FakeSnowflake
from progress.backend import account
from progress.backend.account import Account, QueryState, configured_options
from progress.backend.connection import ProgressConnection
from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import Query, Status
from progress.settings import ROOT
from tests.app.conftest import start, wait_for_step
from tests.conftest import wait_for_end
from tests.jobs import STEPS


@pytest.mark.parametrize("query_id", ["", "x", "../../../session", "ü" * 36, "'; DROP", "0" * 5000])
def test_an_invalid_query_id_is_not_sent(
    database: Account, monkeypatch: pytest.MonkeyPatch, query_id: str
) -> None:
    database.execute("SELECT 1 AS X")  # it is connected
    monkeypatch.setattr(SnowflakeRestful, "request", lambda *_, **__: pytest.fail("it was sent"))
    assert database.query_state(query_id) == (QueryState.UNKNOWN, "")


# --- threads, and a server that stops --------------------------------------------------------


def test_threads_that_share_a_connection_get_their_own_rows(
    operations: ProgressConnection,
) -> None:
    ids = [start(operations, "succeed", str(number)) for number in range(4)]
    wrong: list[Any] = []

    def read(number: int) -> None:
        for _ in range(15):
            found = operations.read([ids[number]])
            if [(o.operation_id, o.subject) for o in found.values()] != [
                (ids[number], str(number))
            ]:
                wrong.append(found)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for operation_id in ids:
        wait_for_end(operations, operation_id)


def test_one_thread_at_a_time_uses_the_connection(
    database: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[int] = []
    most: list[int] = []

    def slow(connection: object, query_id: str) -> tuple[QueryState, str]:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return QueryState.RUNNING, ""

    monkeypatch.setattr(account, "_query_state", slow)
    threads = [threading.Thread(target=database.query_state, args=("x",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def crash(server: FakeSnowflake) -> None:
    assert server._process is not None
    server._process.kill()
    server.stop()


@pytest.mark.parametrize("ending", [FakeSnowflake.stop, crash])
def test_a_restart_of_the_server_while_a_job_runs(
    server: FakeSnowflake,
    operations: ProgressConnection,
    ending: Callable[[FakeSnowflake], None],
) -> None:
    done = start(operations, "succeed", "fast")
    wait_for_end(operations, done)
    operation_id = start(operations, "endless")
    wait_for_step(operations, operation_id, 1)
    ending(server)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"Snowflake cannot be reached: [^\n]{1,100}$"):
        operations.read([operation_id])
    assert time.monotonic() - began < 40
    server.start()
    assert operations.read([done])[done].result is not None, "the data is kept"
    operation = wait_for_end(operations, operation_id)
    assert operation.status is Status.FAILED
    assert (
        operation.error
        == "The procedure ended unexpectedly. The fake Snowflake server was stopped."
    )
    again = start(operations, "succeed", "fast")
    assert wait_for_end(operations, again).current_step == STEPS


def test_an_expired_session_is_renewed(
    server: FakeSnowflake, operations: ProgressConnection
) -> None:
    assert operations.read(["a"]) == {}
    server.stop()
    server.start()
    assert operations.read(["a"]) == {}


# --- logins and errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "geheim"}, "Incorrect username or password was specified."),
        ({"account": "wrong"}, "No such account: check `account`."),
        ({"private_key_file": "/no/such/geheim.p8"}, "The connection options are invalid"),
        ({"port": "geheim"}, "The connection options are invalid"),
    ],
)
def test_a_refused_login_is_one_line_without_secrets_and_is_not_retried(
    server: FakeSnowflake,
    wrong: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = ProgressConnection("progress", **(server.options | wrong))
    with pytest.raises(BackendRejected) as caught:
        refused.read(["a"])
    assert said in str(caught.value)
    assert "Check [connections.snowflake] in .streamlit/secrets.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "geheim" not in str(caught.value)
    logins: list[object] = []
    monkeypatch.setattr(account, "_open", lambda *options: logins.append(options))
    for _ in range(3):
        with pytest.raises(BackendRejected, match=re.escape(said)) as again:
            refused.recent(Query(""))
        assert again.value is not caught.value, "its traceback would grow with every raise"
    assert logins == [], "Snowflake locks users whose logins fail"
    refused.reset()


def shown_line(app: AppTest, said: str) -> str:
    """Return the line of a page that contains some text."""
    assert not app.exception
    (line,) = {str(element.value) for element in app.text if said in element.value}
    return line


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "geheim"}, "Incorrect username or password was specified."),
        ({"account": "wrong"}, "No such account: check `account`."),
    ],
)
def test_a_refused_login_is_one_line_on_the_pages(
    server: FakeSnowflake, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("PROGRESS_CONNECTION", json.dumps(server.options | wrong))
    monkeypatch.setenv("JOBS_MODULE", "tests.jobs")
    st.connection("progress", type=ProgressConnection).reset()
    app = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60).run()
    app.button(key="start").click().run()
    lines = [shown_line(app, said), shown_line(app.switch_page("app_pages/board.py").run(), said)]
    for line in lines:
        assert line.endswith("in .streamlit/secrets.toml, then restart.")
        assert "\n" not in line
    st.connection("progress", type=ProgressConnection).reset()
    st.cache_resource.clear()


def test_no_server_is_one_line_within_seconds(server: FakeSnowflake) -> None:
    absent = ProgressConnection("progress", **(server.options | {"port": 1}))
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"^Snowflake cannot be reached"):
        absent.read(["a"])
    assert time.monotonic() - began < 40


class Refusing(BaseHTTPRequestHandler):
    """Passes the login to the fake server, and answers statements with an HTTP error."""

    server_url = ""
    status = 404

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "login-request" in self.path:
            request = urllib.request.Request(self.server_url + self.path, body, dict(self.headers))
            with urllib.request.urlopen(request) as answer:
                status, body = answer.status, answer.read()
        else:
            status, body = self.status, b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("status", [401, 404])
def test_an_http_error_is_one_line_and_leads_to_a_new_login(
    server: FakeSnowflake, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(Refusing, "status", status)
    monkeypatch.setattr(Refusing, "server_url", f"http://127.0.0.1:{server.options['port']}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        refused = Account(server.options | {"port": gateway.server_port})
        for act in (refused.execute, refused.execute_async):
            with pytest.raises(
                BackendUnavailable, match=r"^Snowflake cannot be reached: unexpected"
            ):
                act("SELECT 1")
            assert refused._connection is None
        gateway.shutdown()


@pytest.mark.parametrize("number", [604, 625, 630])
def test_a_timeout_is_transient(number: int) -> None:
    error = account._translate(connector.ProgrammingError(msg="canceled", errno=number))
    assert isinstance(error, BackendUnavailable)


def test_the_connector_waits_longer_than_the_statement_timeout(
    server: FakeSnowflake,
) -> None:
    slow = Account(server.options, timeout=300)
    assert (slow._connect().network_timeout or 0) > 300
    slow.close()


def test_a_missing_table_names_the_remedy(server: FakeSnowflake) -> None:
    empty = ProgressConnection("progress", **(server.options | {"schema": "EMPTY"}))
    with pytest.raises(
        BackendRejected, match=r"Is schema\.sql applied, .* and the role granted\?$"
    ):
        empty.read(["a"])
    empty.reset()


def test_options_come_from_the_variable_or_the_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("progress.settings.ROOT", tmp_path)
    monkeypatch.delenv("PROGRESS_CONNECTION", raising=False)
    assert configured_options() is None
    (tmp_path / ".streamlit").mkdir()
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.write_text('[connections.snowflake]\naccount = "a"\n', "utf-8")
    assert configured_options() == {"account": "a"}
    monkeypatch.setenv("PROGRESS_CONNECTION", '{"account": "b"}')
    assert configured_options() == {"account": "b"}
    monkeypatch.setenv("PROGRESS_CONNECTION", "[1")
    with pytest.raises(BackendRejected, match="PROGRESS_CONNECTION is not a JSON object"):
        configured_options()
    monkeypatch.delenv("PROGRESS_CONNECTION")
    secrets.write_text("[connections", "utf-8")
    with pytest.raises(BackendRejected, match=r"secrets\.toml cannot be read as TOML"):
        configured_options()
