"""The mapping of the reference service, dev/service.py, which dev/openapi.json describes.

For a service of your own, copy it into service.py and change it there: `make dev` and the tests use
this one with the reference service.
"""

from progress.backend.mapping import Call, Service
from progress.operation import Status

FILTERS = {
    "owner": "{owner}",
    "job": "{job}",
    "subject": "{subject}",
    "status": "{statuses}",
    "since": "{since}",
}
SERVICE = Service(
    start=Call(
        method="POST",
        path="/operations",
        headers={"Idempotency-Key": "{operation_id}"},
        body={
            "job": "{job}",
            "subject": "{subject}",
            "owner": "{owner}",
            "retry_of": "{retry_of}",
            "options": "{options}",
        },
        repeatable=True,
    ),
    read=Call(method="GET", path="/operations/{operation_id}"),
    cancel=Call(
        method="POST",
        path="/operations/{operation_id}/cancel",
        headers={"Idempotency-Key": "cancel-{operation_id}"},
        repeatable=True,
    ),
    force_stop=Call(method="POST", path="/operations/{operation_id}/force-stop", repeatable=True),
    log=Call(method="GET", path="/operations/{operation_id}/log", query={"limit": "{limit}"}),
    log_lines="lines",
    file=Call(method="GET", path="/operations/{operation_id}/file", query={"name": "{name}"}),
    upload=Call(
        method="PUT",
        path="/operations/{operation_id}/file",
        query={"name": "{name}"},
        repeatable=True,
    ),
    recent=Call(
        method="GET",
        path="/operations",
        query=FILTERS | {"before": "{before_time}", "before_id": "{before_id}", "limit": "{limit}"},
    ),
    items="operations",
    filters=True,
    counts=Call(method="GET", path="/counts", query=FILTERS),
    statuses={
        "queued": Status.QUEUED,
        "in_progress": Status.IN_PROGRESS,
        "completed": Status.COMPLETED,
        "partial": Status.PARTIAL,
        "failed": Status.FAILED,
        "cancelled": Status.CANCELLED,
    },
    # Left: our names. Right: where the value is in the service's body, here under the same name.
    fields={
        "operation_id": "operation_id",
        "job": "job",
        "subject": "subject",
        "owner": "owner",
        "status": "status",
        "read_at": "read_at",
        "created_at": "created_at",
        "started_at": "started_at",
        "last_updated": "last_updated",
        "heartbeat_at": "heartbeat_at",
        "finished_at": "finished_at",
        "current_step": "current_step",
        "total_steps": "total_steps",
        "failed_steps": "failed_steps",
        "step_description": "step_description",
        "cancel_requested": "cancel_requested",
        "error": "error",
        "result": "result",
        "attempt": "attempt",
        "retry_of": "retry_of",
        "last_steps": "last_steps",
        "live": "live",
        "options": "options",
        "queue_position": "queue_position",
    },
)
