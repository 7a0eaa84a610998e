"""Mappings for six well-known services. Make one your progress/backend/service.py:

    from progress.backend.profiles import airflow

    SERVICE = airflow("my_dag")

A run must carry the operation id and the owner. Without the id it cannot be found after a reload;
without the owner nobody can see it in an app with a login. Each function says how the service
returns them.

Parameters of a job go to Prefect and Airflow; with the others a job that has some is refused. The
log of a run comes from Prefect, and GitHub stops one by force. Limits and retries are set there.
"""

import re
from typing import Any

from progress.backend.mapping import Call, Service, first, milliseconds, pick
from progress.operation import Status

_INPUTS = {name: f"{{{name}}}" for name in ("operation_id", "job", "subject", "owner")}
_INPUTS_AND_PARAMETERS = _INPUTS | {"parameters": "{parameters}"}
_PREFECT_LINES = 200


def aip151(start: str = "/v1/jobs:run", operations: str = "/v1/operations") -> Service:
    """Google's long-running operations, https://google.aip.dev/151.

    Each service defines the metadata of an operation. This profile expects the request id
    (AIP-155), job, subject and owner in it, and the createTime, endTime, statusMessage (or
    statusDetail) and requestedCancellation (or cancelRequested) of most Google Cloud services. Its
    tokens expire after an hour: let `token_command` print one.

    Args:
        start: The path of the method that begins an operation.
        operations: The path of the collection of operations.
    """

    def status(body: Any) -> str:
        if not body.get("done"):
            return "running"
        if body.get("error") is None:
            return "done"
        return "cancelled" if pick(body, "error.code") == 1 else "failed"

    return Service(
        start=Call(
            method="POST",
            path=start,
            body={
                "requestId": "{uuid}",
                "job": "{job}",
                "subject": "{subject}",
                "owner": "{owner}",
            },
            repeatable=True,
        ),
        id="name",
        read=Call(method="GET", path="/v1/{+id}"),
        cancel=Call(method="POST", path="/v1/{+id}:cancel", body={}),
        recent=Call(method="GET", path=operations, query={"pageSize": "{limit}"}),
        find=Call(method="GET", path=operations, query={"filter": 'metadata.requestId="{uuid}"'}),
        items="operations",
        statuses={
            "running": Status.IN_PROGRESS,
            "done": Status.COMPLETED,
            "failed": Status.FAILED,
            "cancelled": Status.CANCELLED,
        },
        fields={
            "operation_id": lambda body: body["metadata"]["requestId"].replace("-", ""),
            "job": "metadata.job",
            "subject": "metadata.subject",
            "owner": "metadata.owner",
            "status": status,
            "percent": first("metadata.progressPercent", "metadata.progressPercentage"),
            "step_description": first("metadata.statusMessage", "metadata.statusDetail"),
            "created_at": "metadata.createTime",
            "started_at": "metadata.createTime",
            "last_updated": "metadata.updateTime",
            "finished_at": "metadata.endTime",
            "cancel_requested": first("metadata.requestedCancellation", "metadata.cancelRequested"),
            "error": "error.message",
            "result": "response",
        },
    )


def azure(start: str, operations: str = "/operations", api_version: str = "2024-01-01") -> Service:
    """Azure asynchronous operations, whose body has status, percentComplete, startTime and error.

    Some services have createdDateTime or created instead of startTime. Tokens expire after about an
    hour: let `token_command` print one.

    They do not return the operation id, the subject or the owner. So the id is sent as the
    Operation-Id, which Azure's API guidelines let the client choose. The owner is known only to the
    process that started the operation: in an app with a login, it is unknown after a restart.

    Args:
        start: The path of the action.
        operations: The path of its status monitors.
        api_version: Sent with every request.
    """
    version = {"api-version": api_version}
    created = first("startTime", "createdDateTime", "created")
    return Service(
        start=Call(
            method="POST",
            path=start,
            query=version,
            headers={"Operation-Id": "{operation_id}"},
            body={"job": "{job}", "subject": "{subject}"},
            repeatable=True,
        ),
        read=Call(method="GET", path=operations + "/{operation_id}", query=version),
        cancel=Call(method="POST", path=operations + "/{operation_id}:cancel", query=version),
        recent=Call(method="GET", path=operations, query=version | {"top": "{limit}"}),
        items="value",
        # Providers have more words, which all mean that it runs: add those of yours, or they are
        # shown as a problem.
        statuses={
            "NotStarted": Status.QUEUED,
            "Accepted": Status.QUEUED,
            "InProgress": Status.IN_PROGRESS,
            "Running": Status.IN_PROGRESS,
            "Succeeded": Status.COMPLETED,
            "Failed": Status.FAILED,
            "Canceled": Status.CANCELLED,
        },
        fields={
            "operation_id": lambda body: str(body.get("name") or body["id"]).replace("-", ""),
            "status": "status",
            "percent": "percentComplete",
            "created_at": created,
            "started_at": created,
            "last_updated": first("lastActionDateTime", "lastUpdatedDateTime"),
            "finished_at": "endTime",
            "error": first("error.message", "error.code"),
            "result": first("properties", "result"),
        },
    )


def github_actions(repository: str, workflow: str, ref: str = "main") -> Service:
    """Runs of a GitHub Actions workflow; the url is https://api.github.com.

    A run returns none of its inputs, so the workflow must put them into its title:

        run-name: >-
          ${{inputs.job}}: ${{inputs.subject}} [${{inputs.operation_id}} ${{inputs.owner}}]
        on:
          workflow_dispatch:
            inputs:  # each of them `type: string`
              operation_id: ...
              job: ...
              subject: ...
              owner: ...

    A dispatch has no idempotency key: it is not repeated when its answer is lost, and a second
    start first searches for the run of the first. The token of a GitHub app expires after an hour:
    let `token_command` print one.

    Args:
        repository: Like "octo-org/octo-repo".
        workflow: The name of its file, like "job.yml".
        ref: The branch or tag to run.
    """
    actions = f"/repos/{repository}/actions"
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    title = re.compile(
        r"(?P<job>.*?): (?P<subject>.*) \[(?P<id>[0-9a-f]{32}) (?P<owner>.*)\]", re.S
    )

    def titled(part: str) -> Any:
        def find(body: Any) -> str | None:
            match = title.fullmatch(body["display_title"])
            return match[part] if match else None

        return find

    def status(body: Any) -> Any:
        return body["conclusion"] if body["status"] == "completed" else body["status"]

    runs = Call(
        method="GET",
        path=f"{actions}/workflows/{workflow}/runs",
        query={"event": "workflow_dispatch", "per_page": "100"},
        headers=headers,
    )
    return Service(
        start=Call(
            method="POST",
            path=f"{actions}/workflows/{workflow}/dispatches",
            headers=headers,
            body={"ref": ref, "inputs": _INPUTS, "return_run_details": True},
        ),
        id=first("workflow_run_id", "id"),
        read=Call(method="GET", path=actions + "/runs/{id}", headers=headers),
        cancel=Call(method="POST", path=actions + "/runs/{id}/cancel", headers=headers),
        force_stop=Call(method="POST", path=actions + "/runs/{id}/force-cancel", headers=headers),
        recent=runs,
        find=runs,
        items="workflow_runs",
        appears_within=30.0,
        statuses={
            "queued": Status.QUEUED,
            "requested": Status.QUEUED,
            "waiting": Status.QUEUED,
            "pending": Status.QUEUED,
            "in_progress": Status.IN_PROGRESS,
            "success": Status.COMPLETED,
            "neutral": Status.COMPLETED,
            "skipped": Status.CANCELLED,
            "cancelled": Status.CANCELLED,
            "stale": Status.CANCELLED,
            "failure": Status.FAILED,
            "timed_out": Status.FAILED,
            "startup_failure": Status.FAILED,
            "action_required": Status.FAILED,
        },
        fields={
            "operation_id": titled("id"),
            "job": titled("job"),
            "subject": titled("subject"),
            "owner": titled("owner"),
            "status": status,
            "created_at": "created_at",
            "started_at": "run_started_at",
            "last_updated": "updated_at",
            "finished_at": lambda body: body["updated_at"] if body["conclusion"] else None,
            "error": lambda body: (
                f"{body['conclusion']}: see {body['html_url']}"
                if body["conclusion"] not in (None, "success", "neutral")
                else None
            ),
            "result": lambda body: {"notes": [body["html_url"]]} if body["conclusion"] else None,
            "attempt": "run_attempt",
        },
    )


def airflow(dag_id: str) -> Service:
    """Runs of one DAG of Apache Airflow 3, whose conf returns what it was started with.

    The parameters of a job are `parameters` in the conf.

    The operation id is the dag_run_id. Airflow has no status for cancelled runs: cancelling marks
    the run as failed, with a note that tells it from other failures. Airflow 2 does not accept
    the note in this request. Tokens expire after a day: let `token_command` print the access_token
    of a POST to /auth/token.

    Args:
        dag_id: The DAG.
    """
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    note = "Cancelled in the app."

    def status(body: Any) -> Any:
        return "cancelled" if body["state"] == "failed" and body["note"] == note else body["state"]

    return Service(
        start=Call(
            method="POST",
            path=runs,
            body={
                "dag_run_id": "{operation_id}",
                "logical_date": None,
                "conf": _INPUTS_AND_PARAMETERS,
            },
            repeatable=True,
        ),
        exists=409,
        read=Call(method="GET", path=runs + "/{operation_id}"),
        cancel=Call(
            method="PATCH",
            path=runs + "/{operation_id}",
            body={"state": "failed", "note": note},
        ),
        recent=Call(method="GET", path=runs, query={"order_by": "-id", "limit": "{limit}"}),
        items="dag_runs",
        statuses={
            "queued": Status.QUEUED,
            "running": Status.IN_PROGRESS,
            "success": Status.COMPLETED,
            "failed": Status.FAILED,
            "cancelled": Status.CANCELLED,
        },
        fields={
            "operation_id": "dag_run_id",
            "job": first("conf.job", "dag_id"),
            "subject": "conf.subject",
            "owner": "conf.owner",
            "parameters": "conf.parameters",
            "status": status,
            "step_description": "note",
            "created_at": first("queued_at", "start_date"),
            "started_at": "start_date",
            "last_updated": "last_scheduling_decision",
            "finished_at": "end_date",
            "error": lambda body: (
                "A task failed: see the run in Airflow." if status(body) == "failed" else None
            ),
        },
    )


def databricks(job_id: int, api: str = "/api/2.2/jobs") -> Service:
    """Runs of one Databricks job, whose job parameters return what it was started with.

    Define operation_id, job, subject and owner as parameters of the job. Tasks count as steps.

    Args:
        job_id: The job.
        api: The version of the Jobs API.
    """

    def parameter(name: str) -> Any:
        def find(body: Any) -> Any:
            given = {entry["name"]: entry for entry in body["job_parameters"]}
            return given[name].get("value", given[name].get("default"))

        return find

    def status(body: Any) -> Any:
        state = body["state"]
        return state.get("result_state") or state["life_cycle_state"]

    def problem(body: Any) -> str | None:
        state = body["state"]
        # These two have no result_state, or get it a moment later.
        over = "result_state" in state or state["life_cycle_state"] in ("INTERNAL_ERROR", "SKIPPED")
        return state["state_message"] if over and status(body) != "SUCCESS" else None

    def ended(body: Any) -> int:
        return sum("result_state" in task["state"] for task in body["tasks"])

    def failed(body: Any) -> int:
        states = [task["state"].get("result_state") for task in body["tasks"]]
        return sum(state in ("FAILED", "TIMEDOUT", "UPSTREAM_FAILED") for state in states)

    def current(body: Any) -> str:
        running = [
            task["task_key"]
            for task in body["tasks"]
            if task["state"]["life_cycle_state"] == "RUNNING"
        ]
        return ", ".join(running) or body["state"]["state_message"]

    runs = Call(method="GET", path=f"{api}/runs/list", query={"job_id": str(job_id), "limit": "24"})
    return Service(
        start=Call(
            method="POST",
            path=f"{api}/run-now",
            body={
                "job_id": job_id,
                "idempotency_token": "{operation_id}",
                "job_parameters": _INPUTS,
            },
            repeatable=True,
        ),
        id="run_id",
        read=Call(method="GET", path=f"{api}/runs/get", query={"run_id": "{id}"}),
        cancel=Call(method="POST", path=f"{api}/runs/cancel", body={"run_id": "{id}"}),
        recent=runs,
        find=runs,
        items="runs",
        statuses={
            "QUEUED": Status.QUEUED,
            "PENDING": Status.QUEUED,
            "BLOCKED": Status.QUEUED,
            "WAITING_FOR_RETRY": Status.QUEUED,
            "RUNNING": Status.IN_PROGRESS,
            "TERMINATING": Status.IN_PROGRESS,
            "TERMINATED": Status.IN_PROGRESS,  # Its result_state follows.
            "SUCCESS": Status.COMPLETED,
            "SUCCESS_WITH_FAILURES": Status.PARTIAL,
            "FAILED": Status.FAILED,
            "TIMEDOUT": Status.FAILED,
            "INTERNAL_ERROR": Status.FAILED,
            "UPSTREAM_FAILED": Status.FAILED,
            "MAXIMUM_CONCURRENT_RUNS_REACHED": Status.FAILED,
            "CANCELED": Status.CANCELLED,
            "UPSTREAM_CANCELED": Status.CANCELLED,
            "SKIPPED": Status.CANCELLED,
            "EXCLUDED": Status.CANCELLED,
            "DISABLED": Status.CANCELLED,
        },
        fields={
            "operation_id": parameter("operation_id"),
            "job": parameter("job"),
            "subject": parameter("subject"),
            "owner": parameter("owner"),
            "status": status,
            "current_step": ended,
            "total_steps": lambda body: len(body["tasks"]),
            "failed_steps": failed,
            "step_description": current,
            "created_at": milliseconds("start_time"),
            "started_at": milliseconds("start_time"),
            "finished_at": milliseconds("end_time"),
            "cancel_requested": lambda body: body["state"]["life_cycle_state"] == "TERMINATING",
            "error": problem,
            "attempt": lambda body: body["attempt_number"] + 1,
        },
    )


def prefect(deployment_id: str) -> Service:
    """Flow runs of one Prefect 3 deployment; the url ends in /api.

    The flow has the parameters operation_id, job, subject and owner, and parameters, a dict, if its
    jobs have some. Prefect does not count steps: the page shows a bar with an unknown total, and
    the message of the state. Of the log it returns the latest 200 lines, and the page says so.

    Args:
        deployment_id: The id of the deployment, a UUID.
    """

    def state(kind: str) -> Any:
        def find(body: Any) -> Any:
            return body["state"]["message"] if body["state_type"] in kind.split() else None

        return find

    def runs(**filters: Any) -> Call:
        # A filter is sent as a POST that changes nothing.
        deployment = {"deployment_id": {"any_": [deployment_id]}}
        return Call(
            method="POST",
            path="/flow_runs/filter",
            body={
                "flow_runs": deployment | filters,
                "sort": "EXPECTED_START_TIME_DESC",
                "limit": "{limit}",
            },
            repeatable=True,
        )

    return Service(
        start=Call(
            method="POST",
            path=f"/deployments/{deployment_id}/create_flow_run",
            body={"idempotency_key": "{operation_id}", "parameters": _INPUTS_AND_PARAMETERS},
            repeatable=True,
        ),
        id="id",
        read=Call(method="GET", path="/flow_runs/{id}"),
        log=Call(
            method="POST",
            path="/logs/filter",
            # Prefect refuses to return more.
            body={
                "logs": {"flow_run_id": {"any_": ["{id}"]}},
                "sort": "TIMESTAMP_DESC",
                "limit": _PREFECT_LINES,
            },
            repeatable=True,
        ),
        log_at="timestamp",
        log_text="message",
        log_dropped=lambda body: len(body) == _PREFECT_LINES,
        cancel=Call(
            method="POST",
            path="/flow_runs/{id}/set_state",
            body={"state": {"type": "CANCELLING", "name": "Cancelling"}},
        ),
        recent=runs(),
        find=runs(idempotency_key={"any_": ["{operation_id}"]}),
        items="",
        statuses={
            "SCHEDULED": Status.QUEUED,
            "PENDING": Status.QUEUED,
            "PAUSED": Status.IN_PROGRESS,
            "RUNNING": Status.IN_PROGRESS,
            "CANCELLING": Status.IN_PROGRESS,
            "COMPLETED": Status.COMPLETED,
            "FAILED": Status.FAILED,
            "CRASHED": Status.FAILED,
            "CANCELLED": Status.CANCELLED,
        },
        fields={
            "operation_id": "idempotency_key",
            "job": "parameters.job",
            "subject": "parameters.subject",
            "owner": "parameters.owner",
            "parameters": "parameters.parameters",
            "status": "state_type",
            "step_description": state("RUNNING PAUSED CANCELLING"),
            "created_at": "created",
            "started_at": "start_time",
            "last_updated": "state.timestamp",
            "finished_at": "end_time",
            "cancel_requested": lambda body: body["state_type"] == "CANCELLING",
            "error": state("FAILED CRASHED"),
            "attempt": "run_count",
        },
    )
