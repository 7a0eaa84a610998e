"""The backend of a measurement, in a separate process: the local server and its operations.

Usage: python host.py FOLDER OPERATIONS PAST   (in a project's folder)

It writes host.json, the variables for the app and the ids, when every operation has started. When
its standard input ends, it waits for the operations to end: they still write to their store.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, os.getcwd())

from dev.local_server import local_server
from poll import fill
from progress.backend.connection import ProgressConnection
from progress.operation import new_operation_id


def share_this_process() -> None:
    """Run the jobs of SQLite in threads of this process: hundreds of processes are a load."""
    from progress.backend import runner
    from progress.backend.store import OperationStore, OperationWriter
    from progress.execution import run_job

    def launch(database: Path) -> None:
        store = OperationStore(database)
        while taken := store.take():
            writer = OperationWriter(store, taken.operation_id, taken.attempt)
            arguments = (taken.job, taken.subject, writer)
            threading.Thread(target=run_job, args=arguments, daemon=True).start()

    runner.launch = launch


def allow_many() -> None:
    """Let the runner of the reference service run all operations at the same time."""
    settings = Path("settings.toml")
    text = settings.read_text("utf-8")
    if "max_running" not in text:
        settings.write_text(f"{text}\n[jobs]\nmax_running = 1000\n", "utf-8")


def main() -> None:
    """Run until standard input ends."""
    folder, operations, past = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # Never the account or server that this machine is configured for.
    os.environ.pop("PROGRESS_CONNECTION", None)
    allow_many()
    with local_server(folder, always=True) as variables:
        os.environ |= variables
        if operations > 1 and Path("progress/backend/files.py").exists():
            share_this_process()
        connection = ProgressConnection("progress")
        ids = [new_operation_id() for _ in range(operations)]
        for operation_id in ids:
            connection.start(operation_id, "clock", "time", "")
        deadline = time.monotonic() + 60
        while sum(bool(found.started_at) for found in connection.read(ids).values()) < operations:
            assert time.monotonic() < deadline, "not every job has started"
            time.sleep(0.1)
        for operation in connection.read(ids).values():
            assert not operation.status.is_terminal, operation.error
        if past:
            fill(variables, past)
        (folder / "host.tmp").write_text(json.dumps({"variables": variables, "ids": ids}))
        (folder / "host.tmp").rename(folder / "host.json")  # complete: compare.py waits for it
        sys.stdin.read()
        Path(os.environ["CLOCK_FILE"]).unlink(missing_ok=True)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(
            found.status.is_terminal for found in connection.read(ids).values()
        ):
            time.sleep(0.1)


if __name__ == "__main__":
    main()
