"""What `make bench` writes: every table has its place, and the chart is well-formed."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

TEMPLATE = Path(__file__).resolve().parents[1]


def row(app: str, viewers: int, tick: float | None, cpu: float) -> dict[str, Any]:
    """Return the figures of one row; a server that drew nothing has no times."""
    return {
        "app": app,
        "page": "",
        "operations": 1,
        "past": 0,
        "viewers": viewers,
        "lost": 0,
        "seconds": 10.0,
        "runs": 20 * viewers,
        "drawn": 20 * viewers if tick else 0,
        "cpu_per_tick_ms": cpu,
        "cpu_share": 0.25,
        "other_core": 0.5,
        "tick_p50_ms": tick,
        "tick_p99_ms": tick,
        "reads_per_interval": 1.0 if app == "rendered" else float(viewers),
        "memory_mb": 170.2,
        "delay_p50_ms": tick,
        "delay_p99_ms": tick,
        "frames_after_end": 0,
    }


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with figures of the test and a copy of the docs to write to."""
    spec = importlib.util.spec_from_file_location("report", TEMPLATE / "benchmarks" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figures = {
        "viewers": [
            row("rendered", 1, 8.0, 5.0),
            row("pattern", 1, 80.0, 60.0),
            row("rendered", 20, 9.0, 4.0),
            row("pattern", 20, None, 48.0),
        ],
        "overload": row("rendered", 30, 9.0, 4.0),
        "recovery": {"viewers": 20, "staying": 6, "between_s": [2.5, 0.5], "tick_p99_ms": 9.0},
        "operations": row("rendered", 20, 9.0, 4.0),
        "past": [row("rendered", 20, 9.0, 4.0) | {"past": past} for past in (10, 10_000)],
        "board": [
            row("rendered", 20, 9.0, 6.0) | {"page": "board", "past": past} for past in (10, 10_000)
        ],
        "side_by_side": {"cpu_per_tick_ms": {"empty": 3.0, "run": 4.0, "board": 4.5, "feed": 5.0}},
        "churn": {"sessions": 1000, "memory_mb": [170.0 + tenth for tenth in range(10)]},
        "board_for_long": {"runs": 1002, "memory_mb": [175.3] * 10},
    }
    polls = [{"past": past, "bare_us": 4, "poll_us": 30} for past in (10, 10_000)]
    poll = {"ready_s": 0.1, "pick_up_ms": 120, "polls": polls}
    start = {"bake_s": 1.0, "cold_s": 20.0, "warm_s": 3.0, "wheels_mb": 118.8}
    folder = tmp_path / "build" / "bench"
    folder.mkdir(parents=True)
    (folder / "compare-sqlite.json").write_text(json.dumps(figures))
    (folder / "poll-sqlite.json").write_text(json.dumps(poll))
    (folder / "start-sqlite.json").write_text(json.dumps(start))
    shutil.copytree(TEMPLATE / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png"))
    (tmp_path / "docs" / "pictures" / "viewers.svg").unlink()
    monkeypatch.setattr(module, "TEMPLATE", tmp_path)
    return module


def written(report: ModuleType) -> str:
    """Return the pages of the docs that hold figures."""
    docs = report.TEMPLATE / "docs"
    pages = [docs / "performance.md", *sorted((docs / "benchmarks").glob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def test_every_table_has_its_place(report: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["report.py", "--write"])
    report.main()
    report.main()  # a second time replaces, and adds nothing
    pages = written(report)
    for line in (
        "| 20 | 1/12.0 | - | 400 against 0 |",  # cost
        "| 30 | 25% | 9.0 / 9.0 | 0.5 |",  # limit
        "| 20 | 9.0 / 9.0 | - / - |",  # delay
        "| 20 | 1.0 | 20.0 |",  # reads
        "| board | 10,000 | 20 | 6.0 | 9.0 / 9.0 | 1.0 |",  # pages
        "| an empty fragment | 3.00 | 0.00 | 0.75 |",  # side by side
        "| live feed | 5.00 | 2.00 | 1.25 |",
        "| 20 | 170 | 170 |",  # memory
        "| sqlite | 10,000 | 4 | 30 | 7.50 | 120 |",  # polls
        "| sqlite | 1.0 | 20.0 | 3.0 | 0.1 | 118.8 |",  # starts
        "| the rule's pattern | 20 | 48.0 | 25% | 50% | - / - |",  # all viewers
        "| sqlite, board, 10,000 past operations | 20 | 6.0 |",
        "| 1,000 sessions come and go | 170 | 171 | 172 |",  # over time
        "| the board runs 1,002 times | 175 | 175 |",
        "Of 20 viewers, all leave but the 6 that came last. Seconds between the ticks of one, on"
        " average over each 5 s that follow: 2.5, 0.5. The p99 of a tick in that time: 9.0 ms.",
    ):
        assert pages.count(line) == 1, line


def test_another_backend_alone_has_its_tables(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report.TEMPLATE / "build" / "bench"
    for file in folder.glob("*-sqlite.json"):
        file.unlink()
    (folder / "compare-postgres.json").write_text(
        json.dumps({"viewers": [row("rendered", 1, 8, 5)]})
    )
    monkeypatch.setattr("sys.argv", ["report.py"])
    report.main()
    assert "| postgres | 1 | 5 | 25% | 50% | 8 / 8 |" in capsys.readouterr().out


def test_times_of_a_saturated_server_are_bounds(report: ModuleType) -> None:
    rows = [row("rendered", 20, 9.0, 4.0), row("pattern", 20, 900.0, 48.0) | {"drawn": 30}]
    assert "| 20 | 1/12.0 | below 1/100.0 |" in report.cost({"sqlite": {"viewers": rows}})


def test_a_shortened_run_is_printed_and_not_written(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(report)
    monkeypatch.setattr("sys.argv", ["report.py"])
    report.main()
    assert "1/12.0" in capsys.readouterr().out
    assert written(report) == before
    assert not (report.TEMPLATE / "docs" / "pictures" / "viewers.svg").exists()


def test_the_chart_has_a_line_for_each_app(report: ModuleType) -> None:
    drawing = ElementTree.fromstring(report.chart(report.load("compare")))
    name = "{http://www.w3.org/2000/svg}"
    assert len(drawing.findall(f"{name}polyline")) == 2
    assert len(drawing.findall(f"{name}circle")) == 3  # what drew nothing has no point
    words = [text.text for text in drawing.findall(f"{name}text")]
    assert {"sqlite", "the rule's pattern"} <= set(words)
