"""What viewers cost: the rendered app next to the rule's pattern. Part of `make bench`.

Usage: uv run --directory PROJECT python compare.py BACKEND RESULTS.json   (Linux, two cores)

The server has one core for itself, viewers and jobs have another. Every row gets a new server and
the same warm-up. VIEWERS="1 20" and SECONDS_EACH=5 shorten it. The file is written after each row.
"""

import asyncio
import json
import math
import os
import shutil
import signal
import socket
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
SERVER_CORE, OTHER_CORE = ({core} for core in sorted(os.sched_getaffinity(0))[:2])
# The pattern is served from a folder without a config.toml: with Streamlit's own settings.
# "pages" is a copy of the rendered app with the page of empty_page.py.
APPS = {
    "rendered": (Path.cwd(), "streamlit_app.py"),
    "pages": (Path.cwd() / ".local" / "pages", "streamlit_app.py"),
    "pattern": (HERE, "pattern_app.py"),
}
PAGES = ("empty", "run", "board", "feed")
INTERVAL = 0.5
PACE = 0.7
"""Average seconds from step to step. Less than the second after which a heartbeat is written: a
heartbeat delays the next step."""
SETTLE = 4
"""Seconds with only the first viewer: the server imports the rest and freezes its heap."""
ARRIVALS = 10
"""Viewers that then arrive per second: a full rerun costs ten times as much as a tick."""
OPEN_TIMEOUT = 15
"""Seconds in which all must see the page; a saturated server is measured without the rest."""
WARM_UP = 4
"""Seconds between the last arrival and the first figure."""
UNTIL_THE_END = 8
"""Seconds in which every page should notice that the operation has ended."""
AFTER_THE_END = 3
"""Seconds in which the frames after the end are counted."""
PERIODS, PERIOD = 15, 5
"""How often, and for how many seconds each, is measured after most viewers have left."""
TURNS = 10
"""How often each page has its turn when pages are compared."""

Row = dict[str, Any]


@contextmanager
def host(folder: Path, operations: int, past: int) -> Iterator[dict[str, Any]]:
    """Run the backend and its jobs; yield the variables that lead to it and the ids."""
    variables = {
        "JOBS_MODULE": "clock_jobs",
        "PYTHONPATH": str(HERE),
        "STEP_SECONDS": str(PACE),
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
def server(app: str, folder: Path, variables: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Serve an app on its own core; yield the id of the process and the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    variables = variables | {"COUNTS": str(folder), "PYTHONPATH": str(HERE)}
    variables["JOBS_MODULE"] = "clock_jobs"
    cwd, script = APPS[app]
    command = [sys.executable, str(HERE / "serve.py"), script, str(port)]
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(
            command, cwd=cwd, env=os.environ | variables, stdout=log, stderr=log
        ) as process,
    ):
        os.sched_setaffinity(process.pid, SERVER_CORE)
        try:
            wait_for_server(process, url, folder / "server.log")
            yield process.pid, url
        finally:
            process.kill()


def wait_for_server(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when the server answers; end with its log if it does not."""
    while process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
            return
        time.sleep(0.05)
    raise SystemExit(log.read_text())


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_seconds(core: int) -> float:
    """Return how long a core has been busy since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *times = line.split()
        if name == f"cpu{core}":  # user, nice, system, idle, iowait, irq, softirq, ...
            return sum(int(times[place]) for place in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def readings(folder: Path, pid: int) -> tuple[float, ...]:
    """Return the clock, the times of the server and of the other core, script runs and reads."""
    counts = [(folder / name).stat().st_size for name in ("RUNS", "READS")]
    return time.perf_counter(), processor_seconds(pid), busy_seconds(min(OTHER_CORE)), *counts


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def quantile(values: list[float], share: float) -> float | None:
    """Return the value that `share` of the values do not exceed, in milliseconds."""
    ordered = sorted(values)
    return round(1000 * ordered[math.ceil(share * len(ordered)) - 1], 1) if ordered else None


async def watch(
    viewers: int, seconds: float, folder: Path, pid: int, pages: list[Viewer], figures: Figures
) -> Row:
    """Measure for some seconds, and then after the end of the operations."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, page in enumerate(pages):
            tasks.append(group.create_task(page.run()))
            await asyncio.sleep(1 / ARRIVALS if number else SETTLE)
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_TIMEOUT):
                await asyncio.gather(*(page.opened.wait() for page in pages))
        await asyncio.sleep(WARM_UP)

        figures.clear()
        before = readings(folder, pid)
        await asyncio.sleep(seconds)
        duration, cpu, other, runs, reads = (
            now - then for now, then in zip(readings(folder, pid), before, strict=True)
        )
        # What has not arrived by now takes at least as long as it has been waited for.
        figures.ticks += [age for page in pages for age in page.unanswered()]
        if figures.delays or not figures.runs:  # the board shows no steps
            overdue = [page.unseen() - 1.3 * PACE for page in pages]
            figures.delays += [late for late in overdue if late > 2 * INTERVAL]
        row: Row = {
            "viewers": viewers,
            "lost": sum(page.is_lost for page in pages),
            "seconds": round(duration, 2),
            "runs": runs,
            "drawn": figures.runs,
            "cpu_per_tick_ms": round(1000 * cpu / runs, 2) if runs else None,
            "cpu_share": round(cpu / duration, 3),
            "other_core": round(other / duration, 3),
            "tick_p50_ms": quantile(figures.ticks, 0.5),
            "tick_p99_ms": quantile(figures.ticks, 0.99),
            "reads_per_interval": round(reads * INTERVAL / duration, 3),
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
def served(app: str, operations: int, past: int) -> Iterator[tuple[Path, int, str, list[str]]]:
    """Serve an app and its backend; yield their folder, the server's process and URL, the ids."""
    Path(".local").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(".local").resolve()) as name:
        folder = Path(name)
        with (
            host(folder, operations, past) as backend,
            server(app, folder, backend["variables"]) as (pid, url),
        ):
            yield folder, pid, url, backend["ids"]


def measure(
    app: str, viewers: int, seconds: float, operations: int = 1, past: int = 0, page: str = ""
) -> Row:
    """Return the figures of some viewers of a page."""
    with served(app, operations, past) as (folder, pid, url, ids):
        figures = Figures()
        pages = [
            Viewer(url, figures, page, "" if page else f"operation={ids[number % len(ids)]}")
            for number in range(viewers)
        ]
        row = asyncio.run(watch(viewers, seconds, folder, pid, pages, figures))
    row = {"app": app, "page": page, "operations": operations, "past": past} | row
    print(json.dumps(row), flush=True)
    return row


def copy_with_empty_page() -> None:
    """Copy the project, and add a page that draws nothing."""
    project = APPS["pages"][0]
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(Path.cwd(), project, ignore=shutil.ignore_patterns(".local", ".venv", "tests"))
    shutil.copy(HERE / "empty_page.py", project / "app_pages" / "empty.py")
    settings = project / "settings.toml"
    page = 'empty = { title = "Empty", icon = "crop_square" }\n\n[progress]'
    settings.write_text(settings.read_text().replace("[progress]", page))


async def take_turns(
    folder: Path, pid: int, pages: dict[str, list[Viewer]], seconds: float
) -> dict[str, tuple[float, float]]:
    """Open all pages, and let them tick in turns; return processor time and script runs of each."""
    costs = dict.fromkeys(pages, (0.0, 0.0))
    async with asyncio.TaskGroup() as group:
        tasks = []
        for viewer in (viewer for viewers in pages.values() for viewer in viewers):
            viewer.is_silent = True
            tasks.append(group.create_task(viewer.run()))
            await asyncio.sleep(1 / ARRIVALS)
        for _ in range(TURNS):
            for name, viewers in pages.items():
                for viewer in viewers:
                    viewer.is_silent = False
                await asyncio.sleep(2 * INTERVAL)  # the first ticks load what they need
                _, cpu, _, runs, _ = readings(folder, pid)
                await asyncio.sleep(seconds / TURNS)
                _, cpu_after, _, runs_after, _ = readings(folder, pid)
                costs[name] = (costs[name][0] + cpu_after - cpu, costs[name][1] + runs_after - runs)
                for viewer in viewers:
                    viewer.is_silent = True
                await asyncio.sleep(INTERVAL)
        for task in tasks:
            task.cancel()
    return costs


def side_by_side(viewers: int, seconds: float) -> Row:
    """Return the processor time of a tick of each page, in milliseconds, measured in one server."""
    copy_with_empty_page()
    with served("pages", 1, 0) as (folder, pid, url, ids):
        query = f"operation={ids[0]}"
        pages = {
            name: [
                Viewer(url, Figures(), "" if name == "run" else name, query * (name == "run"))
                for _ in range(viewers)
            ]
            for name in PAGES
        }
        asyncio.run(warm_up(url, query))
        costs = asyncio.run(take_turns(folder, pid, pages, seconds))
    ticks = {name: round(1000 * cpu / runs, 2) for name, (cpu, runs) in costs.items() if runs}
    row = {"viewers": viewers, "cpu_per_tick_ms": ticks}
    print(json.dumps(row), flush=True)
    return row


async def warm_up(url: str, query: str = "") -> None:
    """Open the run page for as long as the server needs to freeze its heap."""
    page = asyncio.create_task(Viewer(url, Figures(), query=query).run())
    await asyncio.sleep(SETTLE)
    page.cancel()


async def come_and_go(pid: int, url: str, query: str, sessions: int) -> tuple[int, list[float]]:
    """Let sessions come, tick twice and go; return their runs and the memory at each tenth, MB."""
    sizes = []
    figures = Figures()

    async def visit() -> None:
        task = asyncio.create_task(Viewer(url, figures, query=query).run())
        await asyncio.sleep(1.5)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    await warm_up(url, query)
    async with asyncio.TaskGroup() as group:
        for number in range(1, sessions + 1):
            group.create_task(visit())
            await asyncio.sleep(1 / ARRIVALS)
            if number * 10 % sessions < 10:
                sizes.append(round(memory(pid), 1))
    return figures.runs, sizes


async def leave(
    staying: int, viewers: int, url: str, query: str
) -> tuple[list[float], float | None]:
    """Let viewers come, and most leave; return the times between ticks of the rest, and the p99."""
    periods, times = [], []
    figures = Figures()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(viewers):
            tasks.append(group.create_task(Viewer(url, figures, query=query).run()))
            await asyncio.sleep(1 / ARRIVALS if number else SETTLE)
        await asyncio.sleep(WARM_UP)
        for task in tasks[:-staying]:
            task.cancel()
        for _ in range(PERIODS):
            figures.clear()
            await asyncio.sleep(PERIOD)
            periods.append(round(PERIOD * staying / max(figures.runs, 1), 2))
            times += figures.ticks
        for task in tasks[-staying:]:
            task.cancel()
    return periods, quantile(times, 0.99)


def recovery(viewers: int, staying: int) -> Row:
    """Return how soon the last viewers get shorter intervals when the others have left."""
    with served("rendered", 1, 0) as (_, _pid, url, ids):
        periods, p99 = asyncio.run(leave(staying, viewers, url, f"operation={ids[0]}"))
    row = {"viewers": viewers, "staying": staying, "between_s": periods, "tick_p99_ms": p99}
    print(json.dumps(row), flush=True)
    return row


def churn(sessions: int) -> Row:
    """Return the memory of the server while sessions come and go."""
    with served("rendered", 1, 0) as (_, pid, url, ids):
        runs, sizes = asyncio.run(come_and_go(pid, url, f"operation={ids[0]}", sessions))
    row = {"sessions": sessions, "runs": runs, "memory_mb": sizes}
    print(json.dumps(row), flush=True)
    return row


async def watch_board(pid: int, url: str, viewers: int, ticks: int) -> tuple[int, list[float]]:
    """Let viewers open the board; return their runs, and the memory at each tenth, in MB."""
    sizes = []
    figures = Figures()
    await warm_up(url)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(Viewer(url, figures, "board").run()) for _ in range(viewers)]
        for _ in range(10):
            await asyncio.sleep(INTERVAL * ticks / viewers / 10)
            sizes.append(round(memory(pid), 1))
        for task in tasks:
            task.cancel()
    return figures.runs, sizes


def board_for_long(ticks: int) -> Row:
    """Return the memory of the server while the board ticks."""
    with served("rendered", 1, 0) as (_, pid, url, _ids):
        runs, sizes = asyncio.run(watch_board(pid, url, 10, ticks))
    row = {"runs": runs, "memory_mb": sizes}
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure, and write the rows."""
    # SIGTERM ends the server and the jobs, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.sched_setaffinity(0, OTHER_CORE)  # the server moves to its own
    counts = [int(word) for word in os.environ.get("VIEWERS", "1 20 60 120 200").split()]
    seconds = float(os.environ.get("SECONDS_EACH", "20"))
    backend, file = sys.argv[1], Path(sys.argv[2])
    # The pattern reads a SQLite file: one comparison is enough.
    apps = ["rendered", "pattern"] if backend == "sqlite" else ["rendered"]
    results: dict[str, Any] = {"viewers": []}

    def note(key: str, value: Any) -> None:
        results[key] = [*results[key], value] if isinstance(results.get(key), list) else value
        file.write_text(json.dumps(results, indent=1))

    for viewers in counts:
        for app in apps:
            note("viewers", measure(app, viewers, seconds))
    if backend != "sqlite":
        return
    most, some = max(counts), min(20, *counts[-1:])
    note("overload", measure("rendered", 3 * most // 2, seconds))
    note("recovery", recovery(most, max(1, 3 * most // 10)))
    note("operations", measure("rendered", most, seconds, operations=most))
    for name, page in (("past", ""), ("board", "board")):
        results[name] = []
        for past in (10, 10_000):
            note(name, measure("rendered", some, seconds, past=past, page=page))
    note("side_by_side", side_by_side(some, seconds))
    note("churn", churn(sessions=max(10, 5 * most)))
    note("board_for_long", board_for_long(ticks=max(100, 10 * most)))


if __name__ == "__main__":
    main()
