"""How values read on a page."""

from datetime import UTC, datetime

import pytest

from progress.text import as_line, truncate, truncate_middle
from progress.ui.formats import (
    escape_markdown,
    format_datetime,
    format_duration,
    format_metric,
    format_rate,
    format_steps,
    format_time,
)
from progress.ui.titles import job_title


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.9, "12 s"),
        (59.99, "59 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (6, 18, "6 of 18 steps"),
        (29_812, 30_000, "29,812 of 30,000 steps"),
        (1, 1, "1 of 1 step"),
        (0, None, "0 steps"),
        (1, None, "1 step"),
    ],
)
def test_steps(current: int, total: int | None, text: str) -> None:
    assert format_steps(current, total) == text


def test_long_text_is_cut() -> None:
    assert truncate("x" * 200, 200) == "x" * 200
    assert truncate("x" * 201, 200) == "x" * 199 + "…"


def test_the_middle_of_long_text_is_cut() -> None:
    assert truncate_middle("a" * 10, 10) == "a" * 10
    for length in (10, 11):
        cut = truncate_middle("a" * 100 + "b" * 100, length)
        assert len(cut) == length
        assert cut.startswith("aaa")
        assert cut.endswith("… bbbb")


def test_markdown_is_escaped() -> None:
    assert escape_markdown("a *b* <i> $x$ :red[c] \\") == r"a \*b\* \<i\> \$x\$ \:red\[c\] \\"
    assert escape_markdown("Größe 😀 05:12, a: b") == r"Größe 😀 05\:12\, a\: b"


def test_what_streamlit_replaces_after_markdown_is_broken_up() -> None:
    joined = escape_markdown("www.a.b x@a.b http://a :home: ->").replace("\\", "")
    assert joined == "www⁠.a.b x@⁠a.b http:⁠//a :⁠home: -⁠>".replace("⁠", "\N{WORD JOINER}")


def test_a_name_is_one_line_in_one_direction() -> None:
    assert as_line(" a\r\n\n    b\tc\u202ed\u2066e ") == "a b cde"
    assert as_line("x" * 201, 200) == "x" * 199 + "…"


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.001, "16 min 40 s per step"),
        (0.4, "2.5 s per step"),
        (2.55, "2.5 steps/s"),
        (1234.5, "1,234 steps/s"),
    ],
)
def test_paces(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("zone", "text"),
    [("Europe/Berlin", "00:30:05"), (None, "22:30:05 UTC"), ("Mars/Olympus", "22:30:05 UTC")],
)
def test_the_time_of_day_is_the_viewers(zone: str | None, text: str) -> None:
    assert format_time(datetime(2026, 7, 1, 22, 30, 5, tzinfo=UTC), zone) == text


def test_a_moment_has_its_day() -> None:
    time = datetime(2026, 11, 1, 23, 30, 5, tzinfo=UTC)
    assert format_datetime(time, "Europe/Berlin") == "2 Nov 2026, 00:30"
    assert format_datetime(time, None) == "1 Nov 2026, 23:30 UTC"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("analyze_transcription", "Analyze transcription"),
        ("ETL_run", "ETL run"),
        ("nightly-report 2", "Nightly-report 2"),
        ("__", "__"),
        ("a\nb", "A b"),
    ],
)
def test_a_job_has_a_title(name: str, title: str) -> None:
    assert job_title(name) == title


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12400, "12,400"),
        (0.1 + 0.2, "0.3"),
        (1234.5, "1,234.5"),
        (float("inf"), "inf"),
        (True, "True"),
        (None, "—"),
        ("6 min", "6 min"),
        ("", ""),
    ],
)
def test_a_figure_is_written_alike_while_a_job_runs_and_in_its_result(
    value: object, text: str
) -> None:
    assert format_metric(value) == text
