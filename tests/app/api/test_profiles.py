"""The profiles with bodies from the documentation of the services, and with fake servers."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from progress.backend import profiles
from progress.backend.connection import ProgressConnection
from progress.backend.mapping import Service
from progress.contract import BackendRejected, BackendUnavailable
from progress.operation import Operation, Options, Query, Status, new_operation_id
from progress.rows import operation_from_row
from tests.app.fault_server import FaultServer, Request, fault_server

ID = "0123456789abcdef0123456789abcdef"
GITHUB = profiles.github_actions("octo-org/octo-repo", "job.yml")
AIRFLOW = profiles.airflow("transcripts")
DATABRICKS = profiles.databricks(11223344)
PREFECT = profiles.prefect("5a1b6f0e-0a0b-4a53-8a8c-5a2f0c0c0c0c")
AIP = profiles.aip151()
AZURE = profiles.azure("/actions/run")


def operation(service: Service, body: dict[str, Any]) -> Operation:
    return operation_from_row({**service.row(body), "operation_id": ID})


def github_run(**changes: Any) -> dict[str, Any]:
    # The example of "Get a workflow run" in GitHub's REST API description, shortened.
    return {
        "id": 30433642,
        "name": "Build",
        "run_number": 562,
        "event": "workflow_dispatch",
        "display_title": f"analyze: a b.txt [{ID} me@example.com]",
        "status": "queued",
        "conclusion": None,
        "workflow_id": 159038,
        "html_url": "https://github.com/octo-org/octo-repo/actions/runs/30433642",
        "created_at": "2020-01-22T19:33:08Z",
        "updated_at": "2020-01-22T19:33:09Z",
        "run_attempt": 1,
        "run_started_at": "2020-01-22T19:33:08Z",
    } | changes


def dag_run(**changes: Any) -> dict[str, Any]:
    # DAGRunResponse of Airflow's REST API, v2.
    return {
        "dag_run_id": ID,
        "dag_id": "transcripts",
        "logical_date": None,
        "queued_at": "2026-01-01T10:00:00.123456Z",
        "start_date": None,
        "end_date": None,
        "run_after": "2026-01-01T10:00:00Z",
        "last_scheduling_decision": None,
        "run_type": "manual",
        "state": "queued",
        "triggered_by": "rest_api",
        "conf": {"operation_id": ID, "job": "analyze", "subject": "a", "owner": "me@example.com"},
        "note": None,
        "dag_versions": [],
        "bundle_version": None,
    } | changes


def databricks_run(state: dict[str, Any], *tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    # The answer of /api/2.2/jobs/runs/get, shortened.
    given = {"operation_id": ID, "job": "analyze", "subject": "a", "owner": "me@example.com"}
    return {
        "job_id": 11223344,
        "run_id": 455644833,
        "number_in_job": 455644833,
        "state": {"state_message": "", "user_cancelled_or_timedout": False} | state,
        "start_time": 1625060460483,
        "setup_duration": 0,
        "end_time": 0,
        "tasks": [
            {"task_key": f"task{number}", "run_id": number, "state": task}
            for number, task in enumerate(tasks)
        ],
        "job_parameters": [
            {"name": name, "default": "", "value": value} for name, value in given.items()
        ],
        "attempt_number": 0,
        "run_type": "JOB_RUN",
    } | changes


def flow_run(kind: str, message: str | None = None, **changes: Any) -> dict[str, Any]:
    # Recorded from a Prefect 3 server, shortened.
    return {
        "id": "38bdce5c-c6c6-4a4c-8bd4-2b4dcaa5b6a3",
        "created": "2026-01-01T10:00:00.265926Z",
        "name": "dexterous-bat",
        "deployment_id": "5a1b6f0e-0a0b-4a53-8a8c-5a2f0c0c0c0c",
        "idempotency_key": ID,
        "parameters": {
            "operation_id": ID,
            "job": "analyze",
            "subject": "a",
            "owner": "me@example.com",
        },
        "state_type": kind,
        "state_name": kind.title(),
        "run_count": 1,
        "start_time": None,
        "end_time": None,
        "state": {"type": kind, "message": message, "timestamp": "2026-01-01T10:00:01.000000Z"},
    } | changes


def lro(**changes: Any) -> dict[str, Any]:
    # google.longrunning.Operation, with the metadata of most Google Cloud services.
    return {
        "name": "operations/operation-1625060460483-5c5f0a",
        "metadata": {
            "@type": "type.googleapis.com/google.cloud.example.v1.OperationMetadata",
            "createTime": "2026-01-01T10:00:00.123456789Z",
            "target": "projects/p/locations/l/transcripts/t",
            "verb": "create",
            "statusDetail": "Reading",
            "requestedCancellation": False,
            "apiVersion": "v1",
            "requestId": str(UUID(ID)),
            "job": "analyze",
            "subject": "a",
            "owner": "me@example.com",
        },
        "done": False,
    } | changes


RUNNING, DONE = {"life_cycle_state": "RUNNING"}, {"life_cycle_state": "TERMINATED"}
WELL = DONE | {"result_state": "SUCCESS"}
BROKEN = DONE | {"result_state": "FAILED"}
TERMINATED = [
    ("SUCCESS", Status.COMPLETED),
    ("SUCCESS_WITH_FAILURES", Status.PARTIAL),
    ("FAILED", Status.FAILED),
    ("TIMEDOUT", Status.FAILED),
    ("UPSTREAM_FAILED", Status.FAILED),
    ("MAXIMUM_CONCURRENT_RUNS_REACHED", Status.FAILED),
    ("CANCELED", Status.CANCELLED),
    ("UPSTREAM_CANCELED", Status.CANCELLED),
    ("EXCLUDED", Status.CANCELLED),
    ("DISABLED", Status.CANCELLED),
]
CONCLUSIONS = [
    ("success", Status.COMPLETED),
    ("neutral", Status.COMPLETED),
    ("failure", Status.FAILED),
    ("timed_out", Status.FAILED),
    ("startup_failure", Status.FAILED),
    ("action_required", Status.FAILED),
    ("cancelled", Status.CANCELLED),
    ("skipped", Status.CANCELLED),
    ("stale", Status.CANCELLED),
]
STATUSES: list[tuple[Service, dict[str, Any], Status]] = [
    *((GITHUB, github_run(status=word), Status.QUEUED) for word in ("queued", "pending")),
    *((GITHUB, github_run(status=word), Status.QUEUED) for word in ("requested", "waiting")),
    (GITHUB, github_run(status="in_progress"), Status.IN_PROGRESS),
    *(
        (GITHUB, github_run(status="completed", conclusion=word), status)
        for word, status in CONCLUSIONS
    ),
    (AIRFLOW, dag_run(), Status.QUEUED),
    (AIRFLOW, dag_run(state="running"), Status.IN_PROGRESS),
    (AIRFLOW, dag_run(state="success"), Status.COMPLETED),
    (AIRFLOW, dag_run(state="failed"), Status.FAILED),
    (AIRFLOW, dag_run(state="failed", note="Cancelled in the app."), Status.CANCELLED),
    (DATABRICKS, databricks_run({"life_cycle_state": "PENDING"}), Status.QUEUED),
    (DATABRICKS, databricks_run({"life_cycle_state": "QUEUED"}), Status.QUEUED),
    (DATABRICKS, databricks_run({"life_cycle_state": "BLOCKED"}), Status.QUEUED),
    (DATABRICKS, databricks_run({"life_cycle_state": "WAITING_FOR_RETRY"}), Status.QUEUED),
    (DATABRICKS, databricks_run(RUNNING), Status.IN_PROGRESS),
    (DATABRICKS, databricks_run({"life_cycle_state": "TERMINATING"}), Status.IN_PROGRESS),
    (DATABRICKS, databricks_run({"life_cycle_state": "SKIPPED"}), Status.CANCELLED),
    (DATABRICKS, databricks_run({"life_cycle_state": "INTERNAL_ERROR"}), Status.FAILED),
    *(
        (DATABRICKS, databricks_run(DONE | {"result_state": word}), status)
        for word, status in TERMINATED
    ),
    *((PREFECT, flow_run(word), Status.QUEUED) for word in ("SCHEDULED", "PENDING")),
    *((PREFECT, flow_run(word), Status.IN_PROGRESS) for word in ("RUNNING", "PAUSED")),
    (PREFECT, flow_run("CANCELLING"), Status.IN_PROGRESS),
    (PREFECT, flow_run("COMPLETED"), Status.COMPLETED),
    *((PREFECT, flow_run(word), Status.FAILED) for word in ("FAILED", "CRASHED")),
    (PREFECT, flow_run("CANCELLED"), Status.CANCELLED),
    (AIP, lro(), Status.IN_PROGRESS),
    (AIP, {"name": "operations/1"}, Status.IN_PROGRESS),
    (AIP, lro(done=True, response={"@type": "x", "name": "t"}), Status.COMPLETED),
    (AIP, lro(done=True, error=None, response={}), Status.COMPLETED),
    (AIP, lro(done=True, error={"code": 9, "message": "Not ready"}), Status.FAILED),
    (AIP, lro(done=True, error={"code": 1, "message": "Cancelled"}), Status.CANCELLED),
    *((AZURE, {"status": word}, Status.IN_PROGRESS) for word in ("InProgress", "Running")),
    (AZURE, {"status": "NotStarted"}, Status.QUEUED),
    (AZURE, {"status": "Succeeded"}, Status.COMPLETED),
    (AZURE, {"status": "Canceled"}, Status.CANCELLED),
    (AZURE, {"status": "Failed", "error": {"code": "E"}}, Status.FAILED),
]


@pytest.mark.parametrize(("service", "body", "status"), STATUSES)
def test_every_documented_status_is_mapped(
    service: Service, body: dict[str, Any], status: Status
) -> None:
    read = operation(service, body)
    assert read.status is status
    assert read.problem is None


@pytest.mark.parametrize(
    ("service", "body"),
    [
        (GITHUB, github_run()),
        (AIRFLOW, dag_run()),
        (DATABRICKS, databricks_run(RUNNING)),
        (PREFECT, flow_run("RUNNING")),
        (AIP, lro()),
    ],
    ids=["github", "airflow", "databricks", "prefect", "aip151"],
)
def test_a_run_returns_its_job_subject_and_owner(service: Service, body: dict[str, Any]) -> None:
    read = operation(service, body)
    assert service.row(body)["operation_id"] == ID
    assert (read.job, read.owner) == ("analyze", "me@example.com")
    assert read.subject in ("a", "a b.txt")


def test_azure_percent_and_times() -> None:
    # The example of "Track asynchronous Azure operations".
    read = operation(
        AZURE,
        {
            "id": "/subscriptions/s/providers/p/operations/9a062a88-e463-4697-bef2-fe039df73a02",
            "name": "9a062a88-e463-4697-bef2-fe039df73a02",
            "status": "Failed",
            "startTime": "2017-01-06T20:56:36.0028127+00:00",
            "endTime": "2017-01-06T20:56:56.002812+00:00",
            "percentComplete": 42.5,
            "error": {"code": "Conflict", "message": "It is in use."},
        },
    )
    assert (read.current_step, read.total_steps) == (42, 100)
    assert read.created_at.year == 2017
    assert read.elapsed == pytest.approx(20, abs=0.001)
    assert read.error == "It is in use."
    assert read.problem is None


@pytest.mark.parametrize("name", ["startTime", "createdDateTime", "created"])
def test_azure_names_the_time_of_creation_differently(name: str) -> None:
    body = {"status": "Running", name: "2026-01-01T10:00:00Z"}
    read = operation(AZURE, body | {"lastActionDateTime": "2026-01-01T10:00:07Z"})
    assert read.created_at == read.started_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert read.last_updated == datetime(2026, 1, 1, 10, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "cancelled"),
    [("statusMessage", "requestedCancellation"), ("statusDetail", "cancelRequested")],
)
def test_google_services_name_their_metadata_differently(message: str, cancelled: str) -> None:
    read = operation(AIP, {"name": "o/1", "metadata": {message: "Reading", cancelled: True}})
    assert read.step_description == "Reading"
    assert read.is_cancelling


def test_databricks_tasks_are_steps_and_times_are_milliseconds() -> None:
    read = operation(DATABRICKS, databricks_run(RUNNING, WELL, BROKEN, RUNNING, DONE))
    assert (read.current_step, read.total_steps, read.failed_steps) == (2, 4, 1)
    assert read.step_description == "task2"
    assert read.started_at == datetime(2021, 6, 30, 13, 41, 0, 483000, UTC)
    assert read.finished_at is None


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (RUNNING, None),
        (WELL, None),
        (BROKEN, "Out of memory."),
        ({"life_cycle_state": "INTERNAL_ERROR"}, "Out of memory."),
        ({"life_cycle_state": "SKIPPED"}, "Out of memory."),
    ],
)
def test_databricks_gives_the_reason_of_a_failure(state: dict[str, Any], error: str | None) -> None:
    run = databricks_run(state | {"state_message": "Out of memory."})
    assert operation(DATABRICKS, run).error == error


@pytest.mark.parametrize("service", [GITHUB, AIRFLOW, DATABRICKS, PREFECT, AIP, AZURE])
@pytest.mark.parametrize("body", [{}, {"status": 1, "state": 2, "tasks": 3, "metadata": []}])
def test_no_profile_raises_on_an_unknown_body(service: Service, body: dict[str, Any]) -> None:
    assert operation(service, body).problem or service is AIP


Opened = Callable[[Service], ProgressConnection]


@pytest.fixture
def fake() -> Iterator[FaultServer]:
    with fault_server(lambda request: request.answer(status=404)) as server:
        yield server


@pytest.fixture
def opened(fake: FaultServer) -> Iterator[Opened]:
    connections = []

    def open_one(service: Service) -> ProgressConnection:
        connections.append(ProgressConnection("progress", service=service, url=fake.url))
        return connections[-1]

    yield open_one
    for connection in connections:
        connection.reset()


def requests(fake: FaultServer) -> list[str]:
    """Return the requests since the last call."""
    lines = [f"{seen.method} {seen.path.partition('?')[0]}" for seen in fake.seen]
    fake.seen.clear()
    return lines


def test_github_from_start_to_cancel(fake: FaultServer, opened: Opened) -> None:
    operation_id = new_operation_id()
    runs = "/repos/octo-org/octo-repo/actions/workflows/job.yml/runs"
    run_path = "/repos/octo-org/octo-repo/actions/runs/30433642"
    run = github_run(display_title=f"analyze: a [{operation_id} me@example.com]")
    listed: list[dict[str, Any]] = []

    def answer(request: Request) -> None:
        path = request.path.partition("?")[0]
        if request.command == "POST" and path.endswith("/dispatches"):
            sent = json.loads(request.content)
            assert sent["ref"] == "main"
            assert sent["inputs"]["operation_id"] == operation_id
            request.answer(b"", 204)
        elif path == runs:
            request.answer({"total_count": len(listed), "workflow_runs": listed})
        elif path == run_path:
            request.answer(run)
        else:
            assert path in (f"{run_path}/cancel", f"{run_path}/force-cancel")
            request.answer({}, 202)

    fake.behavior = answer
    first, second = opened(GITHUB), opened(GITHUB)
    first.start(operation_id, "analyze", "a", "me@example.com")
    requests(fake)
    # The run is not in the list yet, but this process knows that it started it.
    assert first.read([operation_id])[operation_id].status is Status.QUEUED
    assert second.read([operation_id]) == {}
    with pytest.raises(BackendUnavailable, match="does not show the run yet"):
        first.cancel(operation_id)
    second.cancel(operation_id)  # unknown there, so ignored
    listed.append(run)
    run["status"] = "in_progress"
    assert first.read([operation_id])[operation_id].status is Status.IN_PROGRESS
    assert second.read([operation_id])[operation_id].owner == "me@example.com"
    requests(fake)
    second.read([operation_id])
    assert requests(fake) == [f"GET {run_path}"], "found once, then read by its own id"
    first.start(operation_id, "analyze", "a", "me@example.com")
    assert requests(fake) == [f"GET {runs}"], "a second start finds the first"
    second.cancel(operation_id)
    assert requests(fake) == [f"POST {run_path}/cancel"]
    second.force_stop(operation_id)
    assert requests(fake) == [f"POST {run_path}/force-cancel"]
    assert second.read([operation_id])[operation_id].is_cancelling
    assert [run.operation_id for run in second.recent(Query("me@example.com"))] == [operation_id]
    assert second.recent(Query("other@example.com")) == []


def test_airflow_uses_the_operation_id(fake: FaultServer, opened: Opened) -> None:
    operation_id = new_operation_id()
    run = dag_run(dag_run_id=operation_id)
    path = "/api/v2/dags/transcripts/dagRuns"
    starts = []

    def answer(request: Request) -> None:
        if request.command == "POST":
            starts.append(json.loads(request.content))
            if len(starts) > 1:
                request.answer({"detail": "DAGRun already exists"}, 409)
                return
        elif request.command == "PATCH":
            # Airflow changes only the fields of the mask, if there is one.
            mask = parse_qs(urlsplit(request.path).query).get("update_mask")
            sent = json.loads(request.content)
            run.update({name: sent[name] for name in sent if mask is None or name in mask})
        request.answer(run)

    fake.behavior = answer
    connection = opened(AIRFLOW)
    options = Options({"rows": 3})
    for _ in range(2):
        connection.start(operation_id, "analyze", "a", "me@example.com", options=options)
    assert starts[0]["dag_run_id"] == operation_id
    assert starts[0]["conf"]["subject"] == "a"
    assert starts[0]["conf"]["parameters"] == {"rows": 3}
    run["conf"]["parameters"] = {"rows": 3}
    assert opened(AIRFLOW).read([operation_id])[operation_id].options == options
    connection.start(new_operation_id(), "analyze", "a", "me@example.com")
    assert "parameters" not in starts[2]["conf"], "a DAG without parameters gets what it got before"
    run["state"] = "running"
    assert connection.read([operation_id])[operation_id].status is Status.IN_PROGRESS
    requests(fake)
    connection.cancel(operation_id)
    assert requests(fake) == [f"PATCH {path}/{operation_id}"]
    assert connection.read([operation_id])[operation_id].status is Status.CANCELLED


def test_airflow_is_not_asked_to_change_a_run_that_has_ended(
    fake: FaultServer, opened: Opened
) -> None:
    run = dag_run(state="success")
    fake.behavior = lambda request: request.answer(run)
    connection = opened(AIRFLOW)
    assert connection.read([ID])[ID].status is Status.COMPLETED
    requests(fake)
    connection.cancel(ID)
    assert requests(fake) == [], "it would set the state to failed"


def test_airflow_lists_the_newest_runs_and_those_that_wait(
    fake: FaultServer, opened: Opened
) -> None:
    runs = [
        dag_run(dag_run_id=new_operation_id(), start_date=f"2026-01-01T10:00:{number:02}Z")
        for number in range(8)
    ]
    runs.append(dag_run(dag_run_id=ID))

    def answer(request: Request) -> None:
        query = parse_qs(urlsplit(request.path).query)
        (name,) = query["order_by"]
        # As Airflow sorts: without a value last, in either order.
        if name == "-id":
            found = runs[::-1]
        else:
            column = name.removeprefix("-")
            started = [run for run in runs if run[column]]
            found = sorted(started, key=lambda run: str(run[column]), reverse=name != column)
            found += [run for run in runs if not run[column]]
        request.answer({"dag_runs": found[:5]})

    fake.behavior = answer
    listed = opened(AIRFLOW).recent(Query(None))
    assert len(listed) == 5
    assert ID in [operation.operation_id for operation in listed]


def test_a_start_that_exists_is_known_as_any_other(fake: FaultServer, opened: Opened) -> None:
    def answer(request: Request) -> None:
        if request.command == "POST":
            request.answer({"detail": "DAGRun already exists"}, 409)
        else:
            request.answer(dag_run(conf={}))

    fake.behavior = answer
    connection = opened(AIRFLOW)
    connection.start(ID, "analyze", "a", "me@example.com")
    read = connection.read([ID])[ID]
    assert (read.subject, read.owner) == ("a", "me@example.com")


def test_databricks_gets_its_numbers_as_numbers(fake: FaultServer, opened: Opened) -> None:
    operation_id = new_operation_id()
    run = databricks_run(RUNNING)
    run["job_parameters"][0]["value"] = operation_id
    sent: list[Any] = []

    def answer(request: Request) -> None:
        if request.command == "POST":
            sent.append(json.loads(request.content))
            request.answer({"run_id": 455644833, "number_in_job": 455644833})
        else:
            request.answer({"runs": [run]} if "/list" in request.path else run)

    fake.behavior = answer
    first, second = opened(DATABRICKS), opened(DATABRICKS)
    first.start(operation_id, "analyze", "a", "me@example.com")
    assert sent[0]["job_id"] == 11223344
    assert sent[0]["idempotency_token"] == operation_id
    assert sent[0]["job_parameters"]["owner"] == "me@example.com"
    for connection in (first, second):
        assert connection.read([operation_id])[operation_id].status is Status.IN_PROGRESS
    second.cancel(operation_id)
    assert sent[1] == {"run_id": 455644833}


@pytest.mark.parametrize("service", [GITHUB, DATABRICKS, AIP, AZURE])
def test_a_profile_that_would_lose_parameters_refuses_them(
    service: Service, fake: FaultServer, opened: Opened
) -> None:
    with pytest.raises(BackendRejected, match="would lose the parameters"):
        opened(service).start(new_operation_id(), "j", "s", "", options=Options({"rows": 3}))
    assert fake.seen == []


def test_aip151_is_read_by_name(fake: FaultServer, opened: Opened) -> None:
    operation_id = new_operation_id()
    run = lro()
    run["metadata"]["requestId"] = str(UUID(operation_id))

    def answer(request: Request) -> None:
        if request.command == "POST" and request.path == "/v1/jobs:run":
            assert json.loads(request.content)["requestId"] == str(UUID(operation_id))
        listing = request.path.startswith("/v1/operations?")
        request.answer({"operations": [run]} if listing else run)

    fake.behavior = answer
    first, second = opened(AIP), opened(AIP)
    first.start(operation_id, "analyze", "a", "me@example.com")
    assert first.read([operation_id])[operation_id].step_description == "Reading"
    assert requests(fake) == ["POST /v1/jobs:run", f"GET /v1/{run['name']}"]
    assert second.read([operation_id])[operation_id].owner == "me@example.com"
    second.cancel(operation_id)
    assert requests(fake) == ["GET /v1/operations", f"POST /v1/{run['name']}:cancel"]


def test_azure_is_read_at_the_location_in_its_header(fake: FaultServer, opened: Opened) -> None:
    operation_id = new_operation_id()
    place = "/subscriptions/s/operations/9a062a88-e463-4697-bef2-fe039df73a02?api-version=2019"

    def answer(request: Request) -> None:
        if request.command == "POST":
            assert request.headers["Operation-Id"] == operation_id
            headers = {"Azure-AsyncOperation": fake.url + place, "Location": "/other"}
            request.answer(b"", 202, **headers)
        else:
            assert request.path == place
            name = "9a062a88-e463-4697-bef2-fe039df73a02"
            request.answer({"name": name, "status": "InProgress", "percentComplete": 7.0})

    fake.behavior = answer
    connection = opened(AZURE)
    connection.start(operation_id, "analyze", "a", "me@example.com")
    read = connection.read([operation_id])[operation_id]
    assert (read.current_step, read.total_steps) == (7, 100)
    assert (read.subject, read.owner) == ("a", "me@example.com"), "from the start"
    assert read.problem is None
