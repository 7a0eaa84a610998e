"""What viewers cost: the rendered app and the rule's pattern, side by side. Part of `make bench`.

Usage: uv run --directory PROJECT python compare.py BACKEND RESULTS.json   (Linux, two cores)

The server has one core for itself, viewers and jobs have another. Every row gets a fresh server and
the same warm-up. VIEWERS="1 20" and SECONDS_EACH=5 shorten it.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from viewers import Figures, Viewer

HERE = Path(__file__).resolve().parent
SERVER_CORE, OTHER_CORE = {0}, {1}
# The pattern is served from a folder without a config.toml: with Streamlit's own settings.
APPS = {"rendered": (Path.cwd(), "streamlit_app.py"), "pattern": (HERE, "pattern_app.py")}
PORT = 8790
URL = f"http://127.0.0.1:{PORT}"
INTERVAL = 0.5
ARRIVALS = 20
"""Viewers that arrive in a second."""
PATIENCE = 15
"""Seconds in which all have to see the page; a saturated server is measured without the rest."""
WARM_UP = 8
"""Seconds between the last arrival and the first figure: the server settles its heap in them."""
UNTIL_THE_END = 5
"""Seconds in which every page should notice that the operation has ended."""
AFTER_THE_END = 3
"""Seconds in which the frames after the end are counted."""

Row = dict[str, Any]


@contextmanager
def host(folder: Path, operations: int, past: int) -> Iterator[dict[str, Any]]:
    """Run the backend's side; yield the variables that lead to it and the ids."""
    variables = {
        "JOBS_MODULE": "clock_jobs",
        "PYTHONPATH": str(HERE),
        # Below the second after which a heartbeat is written: it would delay the next step.
        "STEP_SECONDS": os.environ.get("STEP_SECONDS", "0.7"),
        "CLOCK_FILE": str(folder / "clock"),
    }
    (folder / "clock").touch()
    command = [sys.executable, str(HERE / "host.py"), str(folder), str(operations), str(past)]
    with (
        (folder / "host.log").open("w") as log,
        subprocess.Popen(
            command, env=os.environ | variables, stdin=subprocess.PIPE, stdout=log, stderr=log
        ) as process,
    ):
        assert process.stdin is not None
        try:
            while not (folder / "host.json").exists():
                if process.poll() is not None:
                    raise SystemExit((folder / "host.log").read_text())
                time.sleep(0.05)
            yield json.loads((folder / "host.json").read_text())
        finally:
            (folder / "clock").unlink(missing_ok=True)
            process.stdin.close()


@contextmanager
def server(app: str, folder: Path, variables: dict[str, str]) -> Iterator[int]:
    """Serve an app on a core of its own; yield the id of the process."""
    variables = variables | {"COUNTS": str(folder), "PYTHONPATH": str(HERE)}
    variables["JOBS_MODULE"] = "clock_jobs"
    cwd, script = APPS[app]
    command = [sys.executable, str(HERE / "serve.py"), script, str(PORT)]
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(
            command, cwd=cwd, env=os.environ | variables, stdout=log, stderr=log
        ) as process,
    ):
        os.sched_setaffinity(process.pid, SERVER_CORE)
        try:
            wait_for_server(process, folder / "server.log")
            yield process.pid
        finally:
            process.kill()


def wait_for_server(process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers; end with its log if it does not."""
    while process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{URL}/_stcore/health"):
            return
        time.sleep(0.05)
    raise SystemExit(log.read_text())


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def readings(folder: Path, pid: int) -> tuple[float, ...]:
    """Return the clock, the processor time of server and viewers, the script runs and the reads."""
    counts = [(folder / name).stat().st_size for name in ("RUNS", "READS")]
    return time.perf_counter(), processor_seconds(pid), time.process_time(), *counts


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def quantile(values: list[float], share: float) -> float | None:
    """Return the value that `share` of the values do not pass, in milliseconds."""
    ordered = sorted(values)
    return round(1000 * ordered[int(share * (len(ordered) - 1))], 1) if ordered else None


async def watch(
    app: str, viewers: int, seconds: float, folder: Path, pid: int, ids: list[str]
) -> Row:
    """Measure for some seconds, and then the quiet after the end."""
    figures = Figures()
    pages = [
        Viewer(URL, f"operation={ids[number % len(ids)]}", figures) for number in range(viewers)
    ]
    async with asyncio.TaskGroup() as group:
        tasks = []
        for page in pages:
            tasks.append(group.create_task(page.run()))
            await asyncio.sleep(1 / ARRIVALS)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(page.opened.wait() for page in pages))
        await asyncio.sleep(WARM_UP)

        figures.clear()
        before = readings(folder, pid)
        await asyncio.sleep(seconds)
        took, cpu, load, runs, reads = (
            now - then for now, then in zip(readings(folder, pid), before, strict=True)
        )
        # A tick that is not answered by now takes at least as long as it has been waiting.
        figures.ticks += [age for page in pages for age in page.unanswered()]
        row: Row = {
            "app": app,
            "viewers": viewers,
            "operations": len(ids),
            "seconds": round(took, 2),
            "ticks": runs,
            "drawn": figures.runs,
            "cpu_per_tick_ms": round(1000 * cpu / runs, 2),
            "cpu_share": round(cpu / took, 3),
            "load_share": round(load / took, 3),
            "tick_p50_ms": quantile(figures.ticks, 0.5),
            "tick_p99_ms": quantile(figures.ticks, 0.99),
            "reads_per_interval": round(reads * INTERVAL / took, 3),
            "memory_mb": round(memory(pid), 1),
            "delay_p50_ms": quantile(figures.delays, 0.5),
            "delay_p99_ms": quantile(figures.delays, 0.99),
        }

        (folder / "clock").unlink()
        with suppress(TimeoutError):
            async with asyncio.timeout(UNTIL_THE_END):
                while any(page.is_polling for page in pages):
                    await asyncio.sleep(0.1)
        figures.clear()
        await asyncio.sleep(AFTER_THE_END)
        row["frames_after_end"] = figures.frames
        for task in tasks:
            task.cancel()
    return row


@contextmanager
def served(app: str, operations: int, past: int) -> Iterator[tuple[Path, int, list[str]]]:
    """Serve an app and its backend; yield their folder, the server's process and the ids."""
    Path(".local").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(".local").resolve()) as name:
        folder = Path(name)
        with (
            host(folder, operations, past) as backend,
            server(app, folder, backend["variables"]) as pid,
        ):
            yield folder, pid, backend["ids"]


def measure(app: str, viewers: int, seconds: float, operations: int = 1, past: int = 0) -> Row:
    """Return the figures of some viewers."""
    with served(app, operations, past) as (folder, pid, ids):
        row = asyncio.run(watch(app, viewers, seconds, folder, pid, ids))
    row["past"] = past
    print(json.dumps(row), flush=True)
    return row


async def come_and_go(pid: int, query: str, sessions: int) -> list[float]:
    """Let sessions come, tick twice and go; return the memory after each tenth of them, in MB."""
    sizes = []

    async def visit() -> None:
        task = asyncio.create_task(Viewer(URL, query, Figures()).run())
        await asyncio.sleep(1.5)
        task.cancel()

    async with asyncio.TaskGroup() as group:
        for number in range(1, sessions + 1):
            group.create_task(visit())
            await asyncio.sleep(1 / ARRIVALS)
            if number % (sessions // 10) == 0:
                sizes.append(round(memory(pid), 1))
    return sizes


def churn(sessions: int) -> Row:
    """Return what memory does while sessions come and go."""
    with served("rendered", 1, 0) as (_, pid, ids):
        sizes = asyncio.run(come_and_go(pid, f"operation={ids[0]}", sessions))
    row = {"sessions": sessions, "memory_mb": sizes}
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure, and write the rows."""
    os.sched_setaffinity(0, OTHER_CORE)  # the server moves to its own
    counts = [int(word) for word in os.environ.get("VIEWERS", "1 20 60 120 200").split()]
    seconds = float(os.environ.get("SECONDS_EACH", "10"))
    backend = sys.argv[1]
    # The pattern asks a SQLite file; one comparison is enough, and the other rows are like ours.
    apps = ["rendered", "pattern"] if backend == "sqlite" else ["rendered"]
    results: dict[str, Any] = {
        "viewers": [measure(app, viewers, seconds) for viewers in counts for app in apps]
    }
    if backend == "sqlite":
        most = max(counts)
        results["operations"] = measure("rendered", most, seconds, operations=most)
        results["past"] = [
            measure("rendered", min(20, most), seconds, past=past) for past in (10, 10_000)
        ]
        results["churn"] = churn(sessions=max(10, 5 * most))
    Path(sys.argv[2]).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
