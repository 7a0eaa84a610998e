"""Starts, follows and cancels operations from a shell: cron, CI, Airflow.

    python -m progress start JOB [SUBJECT] [--param name=value ...] [--follow]
    python -m progress status ID | follow ID | cancel ID [--force] | log ID | list [--json]

The exit code of `start --follow`, `follow` and `status` is that of the operation: 0 completed,
1 failed, 3 partly completed, 4 cancelled, 5 not ended. 2: the command is wrong, or the backend
refuses it. 6: the backend is unavailable.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from progress.backend.connection import ProgressConnection
from progress.contract import Backend, BackendError, BackendRejected, BackendUnavailable
from progress.execution import jobs_module
from progress.job import Job, Upload, as_job, defect
from progress.operation import Operation, Query, Status, new_operation_id
from progress.settings import SettingsError, load_settings
from progress.text import as_line

EXIT_CODES = {
    Status.COMPLETED: 0,
    Status.FAILED: 1,
    Status.PARTIAL: 3,
    Status.CANCELLED: 4,
    Status.QUEUED: 5,
    Status.IN_PROGRESS: 5,
}
WRONG, UNAVAILABLE = 2, 6
MAX_LINES = 1_000_000
UNAVAILABLE_FOR = 60.0
"""Seconds for which `follow` goes on while the backend is unavailable."""

out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def start(backend: Backend, arguments: argparse.Namespace) -> int:
    """Start an operation, and print its id."""
    job = _find_job(arguments.job)
    options = job.options(_parameters(job, arguments.param))
    subject, content = _subject(job, arguments.subject)
    operation_id = arguments.id or new_operation_id()
    if content is not None:
        backend.save_file(operation_id, subject, content)
        options = replace(options, upload=operation_id)
    backend.start(operation_id, arguments.job, subject, arguments.owner, "", options)
    out.print(operation_id)
    return _follow(backend, operation_id) if arguments.follow else 0


def status(backend: Backend, arguments: argparse.Namespace) -> int:
    """Print an operation as JSON."""
    operation = _read(backend, arguments.id)
    print(json.dumps(_as_json(operation), ensure_ascii=False, indent=2))
    return EXIT_CODES[operation.status]


def follow(backend: Backend, arguments: argparse.Namespace) -> int:
    """Show a bar until the operation ends."""
    return _follow(backend, arguments.id)


def cancel(backend: Backend, arguments: argparse.Namespace) -> int:
    """Ask a job to stop."""
    _read(backend, arguments.id)
    backend.cancel(arguments.id)
    if arguments.force:
        if "force_stop" not in backend.features:
            raise BackendRejected("This backend cannot stop a job by force.")
        backend.force_stop(arguments.id)
    return 0


def log(backend: Backend, arguments: argparse.Namespace) -> int:
    """Print the log of an operation."""
    _read(backend, arguments.id)
    if "logs" not in backend.features:
        raise BackendRejected("This backend has no logs.")
    found = backend.logs([arguments.id], MAX_LINES).get(arguments.id)
    for line in found.lines if found else ():
        print(line.at.isoformat(timespec="milliseconds"), line.text)
    return 0


def list_operations(backend: Backend, arguments: argparse.Namespace) -> int:
    """Print the latest operations."""
    query = Query(arguments.owner, job=arguments.job, limit=arguments.limit)
    operations = backend.recent(query)
    if arguments.json:
        print(json.dumps([_as_json(operation) for operation in operations], ensure_ascii=False))
        return 0
    id_column = Column("Id", min_width=32)  # whole: it is copied
    table = Table(id_column, "Job", "Subject", "Status", "Steps", "Created", box=None)
    for operation in operations:
        steps = f"{operation.current_step}/{operation.total_steps or '?'}"
        names = as_line(operation.job, 40), as_line(operation.subject, 40)
        created = f"{operation.created_at:%Y-%m-%d %H:%M:%S}Z"
        table.add_row(operation.operation_id, *names, operation.status, steps, created)
    out.print(table)
    return 0


def _follow(backend: Backend, operation_id: str) -> int:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    failing_since: float | None = None
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("Waiting", total=None)
        while True:
            try:
                operation = _read(backend, operation_id)
                failing_since = None
            except BackendUnavailable as error:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > UNAVAILABLE_FOR:
                    raise
                bar.update(task, description=as_line(str(error), 80))
            else:
                share = operation.progress
                bar.update(
                    task,
                    description=as_line(f"{operation.status}: {operation.step_description}", 80),
                    completed=(share or 0) * 100,
                    total=None if share is None else 100,
                )
                if operation.status.is_terminal:
                    break
            time.sleep(load_settings().poll_interval)
    if operation.reason:
        err.print(operation.reason)
    err.print(f"{operation.status} after {operation.elapsed:.1f} s")
    return EXIT_CODES[operation.status]


def _read(backend: Backend, operation_id: str) -> Operation:
    operation = backend.read([operation_id]).get(operation_id)
    if operation is None:
        raise BackendRejected(f"There is no operation with the id {operation_id!r}.")
    return operation


def _as_json(operation: Operation) -> dict[str, Any]:
    row = asdict(operation)
    return {
        name: value if isinstance(value, str | int | float | list | dict | None) else str(value)
        for name, value in row.items()
        if name != "problem"
    }


def _find_job(name: str) -> Job:
    jobs = jobs_module().JOBS
    if name not in jobs:
        raise ValueError(f"There is no job {name!r}; the jobs are {', '.join(map(str, jobs))}.")
    if reason := defect(name, jobs[name]):
        raise ValueError(f"The job {name!r} {reason}")
    return as_job(jobs[name])


def _parameters(job: Job, given: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--param {text!r} has no '='. Write --param name=value.")
        try:
            values[name] = json.loads(value)  # numbers, true, lists
        except ValueError:
            values[name] = value
    if job.parameters is None:
        if values:
            raise ValueError(f"This job has no parameters: remove --param {given[0]}.")
        return {}
    if unknown := set(values) - set(job.parameters.model_json_schema().get("properties", {})):
        raise ValueError(f"This job has no parameter {', '.join(sorted(unknown))}.")
    model = job.validate(values)
    return {} if model is None else model.model_dump(mode="json", by_alias=True)


def _subject(job: Job, given: str | None) -> tuple[str, bytes | None]:
    """Return the subject, and its content if it is a file."""
    if job.subjects is None:
        if given:
            raise ValueError(f"This job has no subject: remove {given!r}.")
        return "", None
    if given is None:
        raise ValueError("This job needs a SUBJECT.")
    if isinstance(job.subjects, Upload):
        path = Path(given)
        return path.name, path.read_bytes()
    return given, None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m progress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[Backend, argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    command = add("start", start)
    command.add_argument("job", help="a key of JOBS in jobs.py")
    command.add_argument("subject", nargs="?", help="what it works on; a path if it is an upload")
    command.add_argument("--param", action="append", default=[], metavar="name=value")
    command.add_argument("--owner", default="", help="the owner of the operation; default: none")
    command.add_argument("--id", help="start nothing if there is an operation with this id")
    command.add_argument("--follow", action="store_true", help="wait for its end")
    for name, run in {"status": status, "follow": follow, "cancel": cancel, "log": log}.items():
        command = add(name, run)
        command.add_argument("id", help="the id that `start` printed")
        if run is cancel:
            command.add_argument("--force", action="store_true", help="also stop it by force")
    command = add("list", list_operations)
    command.add_argument("--json", action="store_true", help="print a list of objects")
    command.add_argument("--job", help="only those of this job")
    command.add_argument("--owner", help="only those of this owner; default: all")
    command.add_argument("--limit", type=int, default=20, help="how many, default 20")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        connection = ProgressConnection("progress")
        try:
            code: int = parsed.run(connection, parsed)
        finally:
            connection.reset()  # a pool that is not closed complains
    except BackendUnavailable as error:
        err.print(f"The backend is unavailable: {error}")
        return UNAVAILABLE
    except (BackendError, SettingsError, ValueError, OSError) as error:
        err.print(str(error))
        return WRONG
    except KeyboardInterrupt:
        err.print("The operation goes on.")
        return EXIT_CODES[Status.IN_PROGRESS]
    return code


if __name__ == "__main__":
    logging.disable()  # Streamlit's warnings about a script without a browser
    sys.exit(main())
