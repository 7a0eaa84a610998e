"""The reference service: its conventions, its description, and its data after a restart."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
import uvicorn
from schemathesis.specs.openapi.checks import negative_data_rejection

from dev import service as reference_service
from dev.local_jobs.runner import remove_old
from dev.local_jobs.store import OperationStore
from dev.local_server import local_server, service
from dev.service import DESCRIPTION, make_app
from progress.backend.connection import ProgressConnection
from progress.backend.reference import SERVICE
from progress.contract import BackendRejected
from progress.operation import LogLine, Options, Status, new_operation_id
from tests.conftest import wait_until

TOKEN = "secret"
DESCRIBED = json.loads(DESCRIPTION.read_text("utf-8"))


@contextmanager
def served(store: OperationStore) -> Iterator[str]:
    """Serve the operations in a thread, with a service that starts no jobs."""
    store.files.folder.mkdir(parents=True, exist_ok=True)  # as the runner does
    app = make_app(store, TOKEN, launch=lambda path: None)
    # Without websockets: what uvicorn 0.34 imports for them warns of its age.
    config = uvicorn.Config(app, log_level="critical", ws="none")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            store.close()


def connected(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"})


EXISTING = "existing"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = OperationStore(tmp_path_factory.mktemp("service") / "service.db")
    assert store.insert(EXISTING, "j", "s", "")
    with served(store) as url:
        yield url


@pytest.fixture
def client(base_url: str) -> Iterator[httpx2.Client]:
    with connected(base_url) as opened:
        yield opened


def start(client: httpx2.Client, key: str, **changes: str) -> httpx2.Response:
    values = {"job": "j", "subject": "s", "owner": "o"} | changes
    return client.post("/operations", json=values, headers={"Idempotency-Key": key})


def test_a_start_answers_with_a_location_and_a_time_to_read_it(client: httpx2.Client) -> None:
    key = new_operation_id()
    answer = start(client, key, owner=key)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/operations/{key}"
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["status"] == "queued"
    again = start(client, key, subject="another")
    assert again.json()["subject"] == "s"
    assert len(client.get("/operations", params={"owner": key}).json()["operations"]) == 1


def test_an_etag_is_valid_until_the_operation_changes(client: httpx2.Client) -> None:
    key = new_operation_id()
    tag = start(client, key).headers["ETag"]
    path = f"/operations/{key}"
    for known in (tag, f'"other", {tag}', f"W/{tag}"):
        assert client.get(path, headers={"If-None-Match": known}).status_code == 304
    client.post(f"{path}/cancel")
    answer = client.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.json()["cancel_requested"] is True


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic c2VjcmV0", "\xff"])
def test_every_path_needs_the_token(client: httpx2.Client, authorization: str) -> None:
    for path in ("/operations", "/openapi.json", "/operations/x", "/operations/x/file", "/no"):
        headers = {b"Authorization": authorization.encode("latin-1")}
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("content", "key", "status"),
    [
        ('{"job": "j", "subject": "s"}', "a b", 400),
        ("{", "k", 400),
        ("[]", "k", 400),
        ('{"job": "j"}', "k", 400),
        ('{"job": "", "subject": "s"}', "k", 400),
        ('{"job": "j", "subject": 3}', "k", 400),
        ('{"job": "j", "subject": "s", "more": 1}', "k", 400),
        ('{"job": "j", "subject": "s", "retry_of": null}', "k", 400),
        ('{"job": "j", "subject": "\\ud800"}', "k", 400),
        *(
            (f'{{"job": "j", "subject": "s", "options": {options}}}', "k", 400)
            for options in (
                "[]",
                "null",
                '{"priority": 1}',
                '{"retries": true}',
                '{"retries": 1.5}',
                '{"retries": -1}',
                '{"retries": 1e10}',
                '{"time_limit": "1m"}',
                '{"time_limit": NaN}',
                '{"retry_delay": 1e999}',
                '{"upload": 1}',
                '{"parameters": []}',
                '{"parameters": {"x": NaN}}',
                '{"parameters": {"x": 1e999}}',
                '{"parameters": {"x": "\\ud800"}}',
                '{"parameters": {"x": ' + "[" * 500 + "]" * 500 + "}}",
            )
        ),
        ("[" * 90_000, "k", 400),
        (" " * 100_001, "k", 413),
    ],
)
def test_a_malformed_start_is_a_problem(
    client: httpx2.Client, content: str, key: str, status: int
) -> None:
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    answer = client.post("/operations", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["title"]


def test_options_are_stored_and_returned(client: httpx2.Client) -> None:
    key = new_operation_id()
    given = {"parameters": {"a": "→", "b": [1.5, None]}, "retries": 2.0, "time_limit": 60}
    values = {"job": "j", "subject": "s", "options": given}
    answer = client.post("/operations", json=values, headers={"Idempotency-Key": key})
    assert answer.status_code == 202
    for operation in (answer.json(), client.get(f"/operations/{key}").json()):
        assert operation["options"] == given | {
            "retry_delay": 5.0,
            "max_running": 0,
            "upload": "",
        }
        assert operation["queue_position"] >= 1


ODD_NAMES = ["a.csv", "../../etc/passwd", "ä/../b &?#%2e", "..", "a\nb", "x" * 500]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_is_returned_as_it_was_sent(client: httpx2.Client, name: str) -> None:
    path, content = f"/operations/{new_operation_id()}/file", bytes(range(256)) * 1000
    for sent in (b"earlier", content, b""):
        assert client.put(path, params={"name": name}, content=sent).status_code == 204
        answer = client.get(path, params={"name": name})
        assert (answer.status_code, answer.content) == (200, sent)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    missing = client.get(path, params={"name": f"{name[:-1]}!"})
    assert missing.status_code == 404
    assert "There is no file" in missing.json()["detail"]


def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    store = OperationStore(tmp_path / "data" / "service.db")
    with served(store) as url, connected(url) as client:
        for name in (*ODD_NAMES, str(tmp_path / "absolute")):
            assert client.put("/operations/x/file", params={"name": name}, content=b"x").is_success
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"x"]
    assert len(files) == len(ODD_NAMES) + 1
    assert len({path.parent for path in files}) == 1


@pytest.mark.parametrize(
    ("operation_id", "query", "status"),
    [("a b", "name=x", 400), ("x", "", 400), ("x", "name=", 400), ("x", "name=" + "x" * 501, 400)],
)
def test_a_malformed_upload_is_a_problem(
    client: httpx2.Client, operation_id: str, query: str, status: int
) -> None:
    answer = client.put(f"/operations/{operation_id}/file?{query}", content=b"x")
    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_no_more_of_an_upload_is_kept_than_is_allowed(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_service, "MAX_FILE", 1000)
    path = f"/operations/{new_operation_id()}/file?name=x"

    chunks = (b"x" * 400 for _ in range(50))  # without a Content-Length
    assert client.put(path, content=chunks).status_code == 413
    assert client.put(path, content=b"x" * 1001).status_code == 413
    assert client.get(path).status_code == 404
    assert client.put(path, content=b"x" * 1000).status_code == 204


def test_the_log_has_the_latest_lines_and_how_many_were_removed(tmp_path: Path) -> None:
    store = OperationStore(tmp_path / "service.db")
    with served(store) as url, connected(url) as client:
        assert client.get("/operations/x/log").status_code == 404
        start(client, "x")
        assert client.get("/operations/x/log").json() == {"lines": [], "dropped": 0}
        at = datetime(2026, 1, 1, tzinfo=UTC)
        for number in range(3):
            lines = [LogLine(at, f"{number} {line} →" + "x" * 900) for line in range(1200)]
            store.files.log("x").append(lines)
        log = client.get("/operations/x/log", params={"limit": 2}).json()
        assert [line["text"][:8] for line in log["lines"]] == ["2 1198 →", "2 1199 →"]
        assert log["lines"][0]["at"] == at.isoformat()
        whole = store.files.log("x").read(3600)
        assert log["dropped"] == whole.dropped == 3600 - len(whole.lines) > 0
        for limit in ("0", "x", "1000001", ""):
            answer = client.get("/operations/x/log", params={"limit": limit})
            assert (answer.status_code, answer.json()["detail"][:6]) == (400, "limit ")


def test_the_whole_log_can_be_read_by_the_app(tmp_path: Path) -> None:
    store = OperationStore(tmp_path / "service.db")
    assert store.insert("x", "j", "s", "")
    with served(store) as url:
        for _ in range(2):  # a quote becomes two characters in JSON
            lines = [LogLine(datetime(2026, 1, 1, tzinfo=UTC), '"' * 40)] * 10_000
            store.files.log("x").append(lines)
        api = ProgressConnection("progress", service=SERVICE, url=url, token=TOKEN)
        log = api.logs(["x"], 1_000_000)["x"]
        assert len(log.lines) + log.dropped == 20_000
        assert len(log.lines) > 10_000
        api.reset()


def test_nothing_is_left_of_an_operation_that_was_kept_long_enough(tmp_path: Path) -> None:
    store = OperationStore(tmp_path / "service.db")
    with served(store) as url, connected(url) as client:
        for key in ("old", "running"):
            client.put(f"/operations/{key}/file?name=x", content=b"x")
            start(client, key)
            store.files.log(key).append([LogLine(datetime.now(UTC), "line")])
        client.post("/operations/old/cancel")
        time.sleep(0.01)
        assert list(remove_old(store, 0)) == [None, None]
        assert listed(client) == ["running"]
        for path in ("", "/log", "/file?name=x"):
            assert client.get(f"/operations/old{path}").status_code == 404
            assert client.get(f"/operations/running{path}").status_code == 200


def listed(client: httpx2.Client, **query: Any) -> list[str]:
    answer = client.get("/operations", params=query)
    assert answer.status_code == 200
    return [body["operation_id"] for body in answer.json()["operations"]]


@pytest.fixture
def empty_client(tmp_path: Path) -> Iterator[httpx2.Client]:
    with served(OperationStore(tmp_path / "service.db")) as url, connected(url) as opened:
        yield opened


def test_lists_and_counts_are_filtered(empty_client: httpx2.Client) -> None:
    client = empty_client
    start(client, "a", job="one")
    start(client, "b", job="two", retry_of="a")
    start(client, "c", job="two", owner="another")
    (b,) = client.get("/operations", params={"owner": "o", "job": "two"}).json()["operations"]
    assert (b["operation_id"], b["retry_of"], b["last_steps"]) == ("b", "a", [])
    assert sorted(listed(client)) == ["a", "b", "c"]
    assert sorted(listed(client, status=["queued", "failed"])) == ["a", "b", "c"]
    assert listed(client, status=["completed", "failed"]) == []
    assert listed(client, subject="another") == []
    assert listed(client, since="2999-01-01T00:00:00Z") == []
    assert listed(client, before="2000-01-01T00:00:00Z") == []
    first, second, third = listed(client)
    (newest,) = client.get("/operations", params={"limit": 1}).json()["operations"]
    assert newest["operation_id"] == first
    page = {"before": newest["created_at"], "before_id": first}
    assert listed(client, **page) == [second, third]
    assert client.get("/counts", params={"job": "two"}).json() == {"queued": 2}
    assert client.get("/counts", params={"job": "two", "owner": "o"}).json() == {"queued": 1}
    assert client.get("/counts", params={"status": "failed"}).json() == {}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "status=banana",
        "status=",
        "since=",
        "since=yesterday",
        "before=2026-01-01",
        "before=2026-01-01T00:00:00",
        "before=0001-01-01T00:00:00%2B14:00",
    ],
)
def test_a_malformed_query_is_a_problem(client: httpx2.Client, query: str) -> None:
    answer = client.get(f"/operations?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(query.partition("=")[0])


def test_an_unavailable_store_is_503_with_retry_after(tmp_path: Path) -> None:
    tmp_path.joinpath("service.db").mkdir()
    store = OperationStore(tmp_path / "service.db")
    with served(store) as url, connected(url) as client:
        answer = client.get("/operations/x")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_values_that_the_store_refuses_are_422_with_its_reason(tmp_path: Path) -> None:
    store = OperationStore(tmp_path / "service.db")
    store.execute(
        "CREATE TRIGGER quota BEFORE INSERT ON operations"
        " BEGIN SELECT raise(ABORT, 'no more operations today'); END",
        (),
    )
    with served(store) as url, connected(url) as client:
        answer = start(client, new_operation_id())
    assert answer.status_code == 422
    assert answer.json()["detail"] == "service.db: no more operations today"


def test_a_job_and_its_data_survive_a_restart_of_the_service(
    environment: dict[str, str], data_folder: Path
) -> None:
    folder = data_folder / "restarted"
    operation_id = new_operation_id()
    with service(folder, TOKEN) as url:
        port = httpx2.URL(url).port
        assert url.startswith("http://127.0.0.1:")
        api = ProgressConnection("progress", url=url, token=TOKEN)
        api.start(operation_id, "endless", "slow", "")
        before = wait_until(api, operation_id, lambda operation: operation.current_step >= 1)
    with service(folder, TOKEN, port or 0):
        wait_until(
            api, operation_id, lambda operation: operation.current_step > before.current_step
        )
        api.cancel(operation_id)
        wait_until(api, operation_id, lambda operation: operation.status is Status.CANCELLED)
    api.reset()


def test_force_stop_ends_a_job_that_does_not_stop(connection: ProgressConnection) -> None:
    operation_id = new_operation_id()
    connection.start(operation_id, "stubborn", "fast", "")
    wait_until(connection, operation_id, lambda operation: operation.current_step >= 1)
    connection.force_stop(operation_id)
    time.sleep(0.5)
    running = connection.read([operation_id])[operation_id]
    assert running.status is Status.IN_PROGRESS, "it was not asked to stop before"
    connection.cancel(operation_id)
    connection.force_stop(operation_id)
    ended = wait_until(connection, operation_id, lambda operation: operation.status.is_terminal)
    assert ended.status is Status.CANCELLED
    assert ended.reason == "The process of the job was stopped by force."


def test_the_service_limits_how_many_of_a_job_run(connection: ProgressConnection) -> None:
    first, second = new_operation_id(), new_operation_id()
    options = Options(max_running=1)
    connection.start(first, "alone", "slow", "", options=options)
    wait_until(connection, first, lambda operation: operation.status is Status.IN_PROGRESS)
    connection.start(second, "alone", "slow", "", options=options)
    time.sleep(1.5)
    waiting = connection.read([second])[second]
    assert (waiting.status, waiting.queue_position) == (Status.QUEUED, 1)
    for operation_id in (first, second):
        connection.cancel(operation_id)
        wait_until(connection, operation_id, lambda operation: operation.status.is_terminal)


def test_make_dev_says_which_service_the_app_uses(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_folder / "dev"
    monkeypatch.setenv("PROGRESS_API_URL", "https://me:hush@jobs.example.com/api")
    monkeypatch.setenv("SERVICE_MODULE", "no_such_module")
    with local_server(folder) as variables:
        assert variables == {}
    assert capsys.readouterr().out == (
        "The app uses the service at jobs.example.com/api, as configured.\n"
    )
    monkeypatch.setenv("PROGRESS_API_URL", "")
    with (
        pytest.raises(BackendRejected, match="ModuleNotFoundError"),
        local_server(folder),
    ):
        pass
    monkeypatch.setenv("SERVICE_MODULE", "progress.backend.reference")
    # Of the service that a developer works with otherwise.
    for name in ("TOKEN_FILE", "USERNAME", "HEADER", "PROXY"):
        monkeypatch.setenv(f"PROGRESS_API_{name}", "another")
    with local_server(folder) as variables:
        url = variables["PROGRESS_API_URL"]
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with closing(ProgressConnection("progress")) as connection:
            assert connection.read(["a"]) == {}
    assert capsys.readouterr().out == (
        f"The app uses the reference service, dev/service.py, at {url}.\n"
    )


# So that some of the generated cases are about an operation that exists.
for path in [path for path in DESCRIBED["paths"] if "{operation_id}" in path]:
    for call in DESCRIBED["paths"][path].values():
        call["parameters"][0]["example"] = EXISTING
schema = schemathesis.openapi.from_dict(DESCRIBED)
schema.config.generation.update(max_examples=30, deterministic=True)


@schema.parametrize()
def test_the_service_matches_its_description(case: schemathesis.Case[Any], base_url: str) -> None:
    # negative_data_rejection does not see the token that is added here, and the service ignores
    # unknown parameters. What the service must refuse is tested above.
    case.call_and_validate(
        base_url=base_url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        excluded_checks=[negative_data_rejection],
    )


def test_an_existing_operation_is_answered_as_described(base_url: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = {"operation_id": EXISTING}
    show = schema["/operations/{operation_id}"]["GET"]
    cancel = schema["/operations/{operation_id}/cancel"]["POST"]
    log = schema["/operations/{operation_id}/log"]["GET"]
    save = schema["/operations/{operation_id}/file"]["PUT"]
    load = schema["/operations/{operation_id}/file"]["GET"]
    name = {"name": "a/../b"}
    saved = save.Case(
        path_parameters=path, query=name, body=b"x", media_type="application/octet-stream"
    )
    answers = [show.Case(path_parameters=path).call_and_validate(base_url, headers=headers)]
    (tag,) = answers[0].headers["etag"]
    for case in (
        show.Case(path_parameters=path, headers={"If-None-Match": tag}),
        cancel.Case(path_parameters=path),
        log.Case(path_parameters=path),
        saved,
        load.Case(path_parameters=path, query=name),
    ):
        answers.append(case.call_and_validate(base_url, headers=headers))
    assert [answer.status_code for answer in answers] == [200, 304, 202, 200, 204, 200]
