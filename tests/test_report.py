"""What `make bench` writes down: every table finds its place, and the chart is well-formed."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

TEMPLATE = Path(__file__).resolve().parents[1]


def row(app: str, viewers: int, tick: float | None, cpu: float) -> dict[str, Any]:
    """The figures of one row; a server that drew nothing has no times."""
    return {
        "app": app,
        "viewers": viewers,
        "operations": 1,
        "drawn": 400,
        "cpu_per_tick_ms": cpu,
        "cpu_share": 0.25,
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
    """The script, with figures of its own and a copy of the page to write to."""
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
        "operations": row("rendered", 20, 9.0, 4.0),
        "past": [row("rendered", 20, 9.0, 4.0) | {"past": past} for past in (10, 10_000)],
        "churn": {"sessions": 100, "memory_mb": [170.0, 171.4]},
    }
    start = {"bake_s": 1.0, "cold_s": 20.0, "warm_s": 3.0, "wheels_mb": 118.8}
    folder = tmp_path / "build" / "bench"
    folder.mkdir(parents=True)
    (folder / "viewers-sqlite.json").write_text(json.dumps(figures))
    (folder / "start-sqlite.json").write_text(json.dumps(start))
    (tmp_path / "page.md").write_text((TEMPLATE / "docs" / "performance.md").read_text("utf-8"))
    monkeypatch.setattr(module, "TEMPLATE", tmp_path)
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(module, "CHART", tmp_path / "chart.svg")
    return module


def test_every_table_finds_its_place(report: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["report.py", "--write"])
    report.main()
    report.main()  # a second time replaces, and adds nothing
    page = report.PAGE.read_text(encoding="utf-8")
    for line in (
        "| 20 | 1/12.0 | - | 1/20.0 | 400 against 400 |",
        "| the rule's pattern | 20 | 48.0 | 25% | - / - |",
        "with 10,000: 1.00 times.",
        "| sqlite | 1.0 | 20.0 | 3.0 | 118.8 |",
    ):
        assert page.count(line) == 1, line


def test_without_being_asked_nothing_is_written(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = report.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["report.py"])
    report.main()
    assert "1/12.0" in capsys.readouterr().out
    assert report.PAGE.read_text(encoding="utf-8") == before
    assert not report.CHART.exists()


def test_the_chart_has_a_line_for_each_app(report: ModuleType) -> None:
    drawing = ElementTree.fromstring(report.chart(report.load("viewers")))
    name = "{http://www.w3.org/2000/svg}"
    assert len(drawing.findall(f"{name}polyline")) == 2
    assert len(drawing.findall(f"{name}circle")) == 3  # what drew nothing has no point
    words = [text.text for text in drawing.findall(f"{name}text")]
    assert {"sqlite", "the rule's pattern"} <= set(words)
