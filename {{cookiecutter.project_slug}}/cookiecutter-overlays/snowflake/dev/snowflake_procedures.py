"""The stored procedures of the fake Snowflake server: each call is a process of its own."""

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

FAILED, CANCELLED, TIMED_OUT = "100357", "000604", "000630"
"""Numbers of errors."""
PROCEDURE = "RUN_OPERATION"
"""The one procedure that can be called."""


@dataclass
class Call:
    """A call of a procedure; the status is one of Snowflake's query statuses."""

    query_id: str
    status: str = "RUNNING"
    answer: str = ""
    """What the procedure returned, or the message of its error."""
    code: str = ""
    """The number of the error, if it failed."""
    process: Any = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.status.startswith("FAILED")


class Calls:
    """All calls. They are stored in a file, so that they can be read after a restart.

    Args:
        file: Where they are stored.
        options: The connection options of the sessions of the procedures.
    """

    def __init__(self, file: Path, options: Mapping[str, Any]) -> None:
        self._file = file
        self._options = options
        self._calls: dict[str, Call] = {}
        self._context: Any = multiprocessing.get_context("spawn")
        if sys.platform != "win32":  # which cannot fork
            self._context = multiprocessing.get_context("forkserver")
            # A process that has imported these starts in milliseconds instead of a second.
            preloaded = ["snowflake.snowpark", "procedures", "progress.backend.store"]
            self._context.set_forkserver_preload(preloaded)
            forkserver.ensure_running()
        for line in file.read_text("utf-8").splitlines() if file.exists() else []:
            call = Call(*json.loads(line))
            if call.status == "RUNNING":
                call.status, call.code = "FAILED_WITH_ERROR", FAILED
                call.answer = "The fake Snowflake server was stopped."
            call.done.set()
            self._calls[call.query_id] = call

    def get(self, query_id: str) -> Call | None:
        """Return a call, or None if there is none with this id."""
        return self._calls.get(query_id)

    def start(self, arguments: list[Any], timeout: int) -> Call:
        """Start the procedure in a process of its own, which ends after a timeout; 0: none."""
        call = Call(str(uuid.uuid4()))
        self._store(call)
        receiver, sender = self._context.Pipe(duplex=False)
        call.process = self._context.Process(
            target=run_procedure,
            args=(arguments, timeout, self._options, sender),
            daemon=True,
        )
        call.process.start()
        sender.close()
        threading.Thread(target=self._wait, args=(call, receiver), daemon=True).start()
        return call

    def cancel(self, query_id: str) -> str:
        """Cancel a call, and return the message that Snowflake returns."""
        call = self._calls.get(query_id)
        if call is None or call.done.is_set():
            return "Identified SQL statement is not currently executing."
        self._end(call, CANCELLED, "SQL execution canceled")
        call.process.kill()
        return f"query [{query_id}] terminated."

    def stop(self) -> None:
        """Kill all running calls."""
        for call in self._calls.values():
            if call.process is not None and call.process.is_alive():
                call.process.kill()

    def _wait(self, call: Call, receiver: multiprocessing.connection.Connection) -> None:
        try:
            code, answer = receiver.recv()
        except EOFError:
            code, answer = FAILED, "The process of the procedure was killed."
        call.process.join()
        self._end(call, code, answer)

    def _end(self, call: Call, code: str, answer: str) -> None:
        if not call.done.is_set():
            call.status = "FAILED_WITH_ERROR" if code else "SUCCESS"
            call.code, call.answer = code, answer
            call.done.set()
            self._store(call)

    def _store(self, call: Call) -> None:
        self._calls[call.query_id] = call
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([call.query_id, call.status, call.answer, call.code]) + "\n")


def run_procedure(
    arguments: list[Any],
    timeout: int,
    options: Mapping[str, Any],
    sender: multiprocessing.connection.Connection,
) -> None:
    """Run the procedure with a Snowpark session: the main function of the process of a call."""
    # Ctrl-C in the terminal is for the server, which ends its calls.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    from snowflake import connector
    from snowflake.snowpark import Session

    import procedures

    def time_out() -> None:
        message = f"Statement reached its statement or warehouse timeout of {timeout} second(s)"
        sender.send((TIMED_OUT, f"{message} and was canceled."))
        os._exit(1)

    try:
        connection = connector.connect(**options, network_timeout=5, paramstyle="qmark")
        session = Session.builder.configs({"connection": connection}).create()
        if timeout:
            timer = threading.Timer(timeout, time_out)
            timer.daemon = True
            timer.start()
        sender.send(("", procedures.run_operation(session, *arguments)))
    except BaseException as error:
        sender.send((FAILED, f"{type(error).__name__}: {error}"))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
