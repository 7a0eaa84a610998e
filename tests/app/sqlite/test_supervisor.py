"""How a process is run and ended, and what is known of it then."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from progress import supervisor
from progress.contract import BackendUnavailable
from progress.operation import LogLine, Options
from progress.settings import ROOT
from progress.supervisor import Ending, StepFile, run_process
from tests.test_sqlite import is_running

NEVER = "".__str__  # no reason to stop


class Lines(list[LogLine]):
    """A log, which may be unavailable."""

    error: Exception | None = None

    def write(self, lines: list[LogLine]) -> None:
        if self.error is not None:
            raise self.error
        self.extend(lines)

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self]


def run(
    script: str, log: Lines, stop: Callable[[], str] = NEVER, time_limit: float = 0.0
) -> Ending:
    return run_process(
        [sys.executable, "-c", script], Options(time_limit=time_limit), log.write, stop
    )


def is_ending(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_its_output_is_lines_with_times() -> None:
    log = Lines()
    ending = run(
        "import sys; print('→ one'); print('two', file=sys.stderr); print('end', end='')", log
    )
    assert ending == Ending(0, tail="→ one\ntwo\nend")
    assert log.texts == ["→ one", "two", "end"]
    assert all(line.at.utcoffset() is not None for line in log)


def test_bytes_that_are_no_text_and_control_characters_are_replaced() -> None:
    log = Lines()
    run(r"import os; os.write(1, b'caf\xe9 \x00\r\n' + 'ü'.encode() * 1500 + b'\n')", log)
    assert log.texts == ["caf\ufffd \ufffd", "ü" * 1500]


def test_a_line_that_is_too_long_is_one_line_that_is_cut() -> None:
    log = Lines()
    run("print('x' * 1_000_000); print('next')", log)
    assert log.texts == ["x" * (supervisor.MAX_LINE - 1) + "…", "next"]


def test_of_a_bar_in_a_terminal_the_last_state_is_a_line() -> None:
    log = Lines()
    run("for n in range(101): print(f'{n} %', end='\\r')\nprint('100 % done')", log)
    assert log.texts == ["100 % done"]


def test_100_000_quick_lines_end_soon_and_the_last_are_there_with_the_number_of_the_others() -> (
    None
):
    log = Lines()
    began = time.monotonic()
    lines = "sys.stdout.write(''.join(f'{n}\\n' for n in range(100_000))); sys.stdout.flush()"
    ending = run(f"import sys, time; {lines}; time.sleep(1)", log)
    assert time.monotonic() - began < 60
    assert ending.tail.endswith("99998\n99999")
    assert log.texts[-1] == "99999"
    missing = [line for line in log.texts if line.startswith("…")]
    count = sum(int(line.split()[1].replace(",", "")) for line in missing)
    assert len(log) - len(missing) + count == 100_000
    numbers = [int(line) for line in log.texts if not line.startswith("…")]
    assert numbers == sorted(numbers)


def test_what_a_job_printed_is_stored_before_its_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "CHECK_INTERVAL", 30.0)
    stored = tmp_path / "stored"

    class File(Lines):
        def write(self, lines: list[LogLine]) -> None:
            super().write(lines)
            stored.write_text("".join(self.texts), "utf-8")

    log = File()
    script = (
        "import sys\nfrom pathlib import Path\nfrom progress import supervisor as module\n"
        "module.STORE_TIMEOUT = 20.0\nsupervisor = module.Supervisor()\n"
        "print('first')\nprint('last', end='')\nsupervisor.wait_for_log()\n"
        f"sys.exit(Path({str(stored)!r}).read_text('utf-8'))"
    )
    ending = run(script, log)
    assert ending.code == 1
    assert ending.tail == "first\nlast\nfirstlast"


@pytest.mark.parametrize("output", ["print('x')", "sys.stdout.close()", "os.close(1)"])
def test_a_job_does_not_wait_long_for_a_log_that_cannot_be_written(output: str) -> None:
    log = Lines()
    log.error = BackendUnavailable("no route")
    script = (
        "import os, sys\nfrom progress.supervisor import Supervisor\n"
        f"supervisor = Supervisor()\n{output}\nsupervisor.wait_for_log()\nos._exit(0)"
    )
    began = time.monotonic()
    assert run(script, log).code == 0
    assert time.monotonic() - began < 20


def test_a_log_that_cannot_be_written_for_a_while_loses_nothing() -> None:
    log = Lines()
    log.error = BackendUnavailable("no route")
    began = time.monotonic()

    def mend() -> str:
        if time.monotonic() - began > 1:
            log.error = None
        return ""

    run("import time\nfor n in range(9_000): print(n)\ntime.sleep(2)", log, mend)
    assert log.texts == [str(number) for number in range(9_000)]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(3)", "ended with exit code 3."),
        ("pass", "ended with exit code 0."),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL, probably because memory"),
        ("import os; os.kill(os.getpid(), 15)", "was killed by SIGTERM."),
        pytest.param(
            "import os; os.kill(os.getpid(), 40)",
            "was killed by signal 40.",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="each signal has a name"),
        ),
    ],
)
def test_how_it_ended_is_the_reason(script: str, reason: str) -> None:
    assert run(script, Lines()).reason.startswith(f"The process of the job {reason}")


def test_the_last_lines_of_its_log_are_in_the_reason_but_are_not_its_last_line() -> None:
    script = "for n in range(100): print(f'line {n} \\x85' + 'x' * 30)\nraise SystemExit(3)"
    lines = run(script, Lines()).reason.splitlines()
    assert lines[0] == "The last lines of its log:"
    assert lines[-1] == "The process of the job ended with exit code 3."
    shown = [line for line in lines if "line " in line]
    assert all(line.startswith("    ") for line in lines[2:-2] if line)
    assert shown[-1].strip().startswith("line 99")
    assert len(shown) == supervisor.TAIL
    assert len("\n".join(lines)) < 2 * supervisor.TAIL_LENGTH


def test_a_time_limit_ends_it_even_if_it_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT", 0.5)
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)"
    began = time.monotonic()
    ending = run(script, Lines(), time_limit=1.5)
    assert 1.5 < time.monotonic() - began < 30
    assert ending.code == -signal.SIGKILL
    assert ending.stopped == "was stopped: it ran longer than its time limit of 1.5 s"
    assert ending.tail == "on"


CHILD = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid)\n"
)


@pytest.mark.parametrize(
    ("end", "stopped"),
    [("time.sleep(60)", "was stopped by force"), ("os.kill(os.getpid(), 9)", "")],
)
def test_children_end_with_a_job_that_is_stopped_or_dies(end: str, stopped: str) -> None:
    log = Lines()
    ending = run(CHILD + end, log, lambda: stopped if log else "")
    assert ending.stopped == stopped
    assert is_ending(int(log.texts[0]))


def test_a_child_that_keeps_the_output_open_is_not_waited_for() -> None:
    log = Lines()
    began = time.monotonic()
    assert run(CHILD, log).code == 0
    assert time.monotonic() - began < 30
    child = int(log.texts[0])
    assert is_running(child), "a job that ends well may leave a child"
    os.kill(child, signal.SIGKILL)


def test_a_command_that_cannot_be_started_raises() -> None:
    with pytest.raises(OSError, match="No such file"):
        run_process(["/no/such/command"], Options(), Lines().write, NEVER)


def test_the_step_file_holds_the_latest_step(tmp_path: Path) -> None:
    steps = StepFile(str(tmp_path / "step"))
    steps.write(1, "long " * 1000)
    steps.write(12, "é" * 600)
    number, description = supervisor._read_step(tmp_path / "step") or (0, "")
    assert number == 12
    assert set(description) == {"é"}
    steps.write(13, "short")
    assert supervisor._read_step(tmp_path / "step") == (13, "short")
    assert (tmp_path / "step").stat().st_mode & 0o777 == 0o600
    assert supervisor._read_step(tmp_path / "missing") is None


JOB = (
    "import os, subprocess, sys, time\n"
    "from progress.supervisor import Supervisor\n"
    "Supervisor()\n"
    "assert sys.stdin.read() == ''\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(os.getpid(), child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def test_a_job_and_its_children_end_when_their_supervisor_is_killed() -> None:
    script = (
        "import sys\nfrom progress.operation import Options\n"
        "from progress.supervisor import run_process\n"
        f"run_process([sys.executable, '-c', {JOB!r}], Options(),"
        " lambda lines: print(lines[0].text, flush=True), str)"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        job, child = map(int, process.stdout.readline().split())
        assert is_running(job)
        process.kill()
    assert is_ending(job)
    assert is_ending(child)
