"""Starts, follows and cancels operations from a shell: cron, CI, Airflow.

    python -m progress start JOB [SUBJECT] [--param name=value ...] [--follow]
    python -m progress status ID | follow ID | cancel ID [--force] | log ID | list [--json]

The exit code of `start --follow`, `follow` and `status` is that of the operation: 0 completed,
1 failed, 3 partly completed, 4 cancelled, 5 not ended. 2: the command is wrong, or the backend
refuses it. 6: the backend is unavailable.
"""

import argparse
import hashlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from progress.contract import Backend, BackendError, BackendRejected, BackendUnavailable
from progress.execution import JobsModule, jobs_module
from progress.job import Job, Upload, as_job, defect, list_subjects
from progress.operation import Log, Operation, Query, Status, is_operation_id, new_operation_id
from progress.settings import ROOT, SettingsError, load_settings
from progress.text import as_line, format_duration, reason_of, sanitize

EXIT_CODES = {
    Status.COMPLETED: 0,
    Status.FAILED: 1,
    Status.PARTIAL: 3,
    Status.CANCELLED: 4,
    Status.QUEUED: 5,
    Status.IN_PROGRESS: 5,
}
WRONG, UNAVAILABLE = 2, 6
INTERRUPTED, OUTPUT_CLOSED = 130, 141
"""As a shell reports SIGINT and SIGPIPE."""
MAX_LISTED = 100_000
MAX_LINES = 1_000_000
UNAVAILABLE_FOR = 60.0
"""Seconds for which `follow` goes on while the backend is unavailable."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error that is handled: Rich would exit with 1, which is a failed operation."""
        raise


out = _Console(highlight=False, markup=False, emoji=False)
err = _Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def start(backend: Backend, arguments: argparse.Namespace) -> int:
    """Start an operation, and print its id."""
    operation_id = new_operation_id() if arguments.id is None else arguments.id
    if not is_operation_id(operation_id):
        raise ValueError(
            f"--id {operation_id!r} is invalid. Use 1 to 200 of A-Z, a-z, 0-9 and _ . : + ~ -"
        )
    module = _jobs_module()
    job = _find_job(module, arguments.job)
    options = job.options(_parameters(arguments.job, job, arguments.param))
    subject, content = _subject(job, arguments.subject)
    if content is not None:
        # By its content, as a page does: operations share it, and none of them owns it.
        options = replace(options, upload=hashlib.sha256(content).hexdigest())
        backend.save_file(options.upload, subject, content)
    elif job.subjects is not None:
        offered = _offered(module, job)
        # What was started may no longer be offered: the same command must not fail then.
        if subject not in offered and operation_id not in backend.read([operation_id]):
            names = as_line(", ".join(offered), 300) or "none"
            raise ValueError(f"This job has no subject {subject!r}; the subjects are {names}.")
    backend.start(operation_id, arguments.job, subject, sanitize(arguments.owner), "", options)
    # Whole, also where the console is narrower, and before it follows.
    print(operation_id, flush=True)
    return _follow(backend, operation_id) if arguments.follow else 0


def status(backend: Backend, arguments: argparse.Namespace) -> int:
    """Print an operation as JSON."""
    operation = _read(backend, arguments.id)
    print(_to_json(_row(operation), indent=2))
    return EXIT_CODES[operation.status]


def follow(backend: Backend, arguments: argparse.Namespace) -> int:
    """Show a bar until the operation ends."""
    return _follow(backend, arguments.id)


def cancel(backend: Backend, arguments: argparse.Namespace) -> int:
    """Ask a job to stop."""
    _read(backend, arguments.id)
    if arguments.force and "force_stop" not in backend.features:
        raise BackendRejected(
            "This backend cannot stop a job by force. Without --force it is asked to stop."
        )
    backend.cancel(arguments.id)
    if arguments.force:
        backend.force_stop(arguments.id)
    return 0


def log(backend: Backend, arguments: argparse.Namespace) -> int:
    """Print the log of an operation."""
    _read(backend, arguments.id)
    if "logs" not in backend.features:
        raise BackendRejected("This backend has no logs.")
    found = backend.logs([arguments.id], MAX_LINES).get(arguments.id, Log())
    if found.notice:
        err.print(found.notice)
    for line in found.lines:
        print(line.at.isoformat(timespec="milliseconds"), line.text)
    return 0


def list_operations(backend: Backend, arguments: argparse.Namespace) -> int:
    """Print the latest operations."""
    if not 1 <= arguments.limit <= MAX_LISTED:
        raise ValueError(f"--limit {arguments.limit} is not between 1 and {MAX_LISTED}.")
    query = Query(arguments.owner, job=arguments.job, limit=arguments.limit)
    operations = backend.recent(query)
    if arguments.json:
        print(_to_json([_row(operation) for operation in operations]))
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
    try:
        operation = _wait_for_end(backend, operation_id)
    except KeyboardInterrupt:
        err.print("The operation goes on.")
        return EXIT_CODES[Status.IN_PROGRESS]
    if operation.reason:
        err.print(operation.reason)
    err.print(f"{operation.status} after {format_duration(operation.elapsed)}")
    return EXIT_CODES[operation.status]


def _wait_for_end(backend: Backend, operation_id: str) -> Operation:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    failing_since: float | None = None
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
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
                    return operation
            time.sleep(load_settings().poll_interval)


def _read(backend: Backend, operation_id: str) -> Operation:
    known = backend.read([operation_id]) if is_operation_id(operation_id) else {}
    operation = known.get(operation_id)
    if operation is None:
        raise BackendRejected(f"There is no operation with the id {operation_id!r}.")
    return operation


def _row(operation: Operation) -> dict[str, Any]:
    row = asdict(operation)
    del row["problem"]
    return row


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=datetime.isoformat)


def _jobs_module() -> JobsModule:
    try:
        return jobs_module()
    except (Exception, SystemExit) as error:
        raise ValueError(f"jobs.py cannot be imported: {_name_error(error)}") from None


def _offered(module: JobsModule, job: Job) -> Sequence[str]:
    try:
        return list_subjects(module, job)
    except (Exception, SystemExit) as error:
        raise ValueError(f"The subjects cannot be listed: {_name_error(error)}") from None


def _name_error(error: BaseException) -> str:
    """Return an error of the project's code in one line, with the line that raised it."""
    places = [
        f" ({Path(frame.filename).relative_to(ROOT)}, line {frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(ROOT) and "site-packages" not in frame.filename
    ]
    # That of a syntax error says it, and no frame does.
    place = "" if isinstance(error, SyntaxError) else "".join(places[-1:])
    return as_line(sanitize(f"{type(error).__name__}: {error}")) + place


def _find_job(module: JobsModule, name: str) -> Job:
    jobs = getattr(module, "JOBS", None)
    if not isinstance(jobs, Mapping):
        raise ValueError("jobs.py has no JOBS: it must be a dict that names at least one function.")
    if name not in jobs:
        raise ValueError(
            f"There is no job {name!r}; the jobs are {', '.join(map(str, jobs)) or 'none'}."
        )
    if reason := defect(name, jobs[name]):
        raise ValueError(f"The job {name!r} {reason}")
    return as_job(jobs[name])


def _parameters(name: str, job: Job, given: Sequence[str]) -> dict[str, Any]:
    from progress.session import parameters  # see `main`

    fields, values = parameters.fields(name, job), dict[str, Any]()
    for text in given:
        field, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--param {text!r} has no '='. Write --param name=value.")
        if job.parameters is None:
            raise ValueError(f"This job has no parameters: remove --param {text!r}.")
        if field not in fields:
            raise ValueError(
                f"This job has no parameter {field!r}; it has {', '.join(fields) or 'none'}."
            )
        if field in values:
            raise ValueError(f"--param {field} is given twice.")
        values[field] = _value(value, fields[field])
    model = job.validate(values)
    return {} if model is None else model.model_dump(mode="json", by_alias=True)


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value of a parameter: the text itself if it is text, a date or the like."""
    if schema.get("type") == "string" and not (text == "null" and schema.get("nullable")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # the model says what is wrong with it


def _subject(job: Job, given: str | None) -> tuple[str, bytes | None]:
    """Return the subject, and its content if it is a file."""
    if job.subjects is None:
        if given:
            raise ValueError(f"This job has no subject: remove {given!r}.")
        return "", None
    if given is None:
        raise ValueError("This job needs a SUBJECT.")
    if isinstance(job.subjects, Upload):
        return _file(Path(given), job.subjects)
    return given, None


def _file(path: Path, upload: Upload) -> tuple[str, bytes]:
    types = [f".{name.lower().removeprefix('.')}" for name in upload.types]
    if types and path.suffix.lower() not in types:
        raise ValueError(f"{str(path)!r}: this job takes {', '.join(types)}.")
    most: int = st.get_option("server.maxUploadSize")
    try:
        with path.open("rb") as file:
            content = file.read(most * 2**20 + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ValueError(f"{str(path)!r} cannot be read: {reason_of(error)}.") from None
    if len(content) > most * 2**20:
        raise ValueError(
            f"{str(path)!r} is larger than {most} MB: see maxUploadSize in .streamlit/config.toml."
        )
    return as_line(sanitize(path.name)), content


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
    command.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="name=value",
        help="text as it is, anything else as JSON",
    )
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
        from progress.session import resources  # it reads settings.toml, which may be invalid

        connection = resources.backend()
        try:
            code: int = parsed.run(connection, parsed)
            sys.stdout.flush()
        finally:
            connection.reset()  # a pool that is not closed complains
    except BrokenPipeError:  # as of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or its flush fails again
        return OUTPUT_CLOSED
    except BackendUnavailable as error:
        err.print(f"The backend is unavailable: {error}")
        return UNAVAILABLE
    except (BackendError, SettingsError, ValueError, OSError) as error:
        err.print(str(error))
        return WRONG
    except KeyboardInterrupt:
        err.print("Interrupted.")
        return INTERRUPTED
    return code


if __name__ == "__main__":
    logging.disable()  # Streamlit's warnings about a script without a browser
    sys.exit(main())
