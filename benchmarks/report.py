"""Turn the figures in build/bench into tables and a chart. The last part of `make bench`.

Usage: python benchmarks/report.py [--write]

It prints the tables; with --write they also go into docs/performance.md, between the marks there,
and the chart to docs/pictures/.
"""

import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parents[1]
PAGE = TEMPLATE / "docs" / "performance.md"
CHART = TEMPLATE / "docs" / "pictures" / "viewers.svg"
INTERVAL = 0.5
COLOURS = ("#b45309", "#0f766e", "#1d4ed8", "#7c3aed", "#475569")

Row = dict[str, Any]


def load(kind: str) -> dict[str, Any]:
    """Return the figures of a kind, by backend."""
    files = sorted((TEMPLATE / "build" / "bench").glob(f"{kind}-*.json"))
    return {file.stem.partition("-")[2]: json.loads(file.read_text()) for file in files}


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    columns = head.split(" | ")
    lines = [f"| {head} |", "|" + "---|" * len(columns)]
    lines += [
        "| " + " | ".join("-" if cell is None else str(cell) for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)


def label(backend: str, row: Row) -> str:
    """Return what a row is called."""
    return "the rule's pattern" if row["app"] == "pattern" else backend


def name(backend: str, row: Row) -> str:
    """Return what a row is called in the table of all figures."""
    found = label(backend, row)
    if row["operations"] > 1:
        found += ", as many operations"
    if row["page"]:
        found += f", {row['page']}"
    if row["past"]:
        found += f", {row['past']:,} past operations"
    return found


def ratio(of: float | None, to: float | None) -> str | None:
    """Return how often the first is in the second, as 1/6.9."""
    return f"1/{to / of:.1f}" if of and to else None


def ratios(viewers: dict[str, Any]) -> str:
    """Return our share of what the pattern takes, for each number of viewers."""
    rows = viewers["sqlite"]["viewers"]

    def times(ours: Row, theirs: Row) -> str | None:
        # A server that answered less than half of its ticks has no times, only bounds of them.
        enough = theirs["drawn"] * INTERVAL * 2 > theirs["viewers"] * theirs["seconds"]
        found = ratio(ours["tick_p99_ms"], theirs["tick_p99_ms"])
        return found if enough or found is None else f"below {found}"

    pairs = [
        (ours, theirs)
        for ours in rows
        for theirs in rows
        if (ours["app"], theirs["app"]) == ("rendered", "pattern")
        and ours["viewers"] == theirs["viewers"]
    ]
    return table(
        "viewers | processor per tick | tick p99 | reads of the database | ticks drawn",
        (
            (
                ours["viewers"],
                ratio(ours["cpu_per_tick_ms"], theirs["cpu_per_tick_ms"]),
                times(ours, theirs),
                ratio(ours["reads_per_interval"], theirs["reads_per_interval"]),
                f"{ours['drawn']} against {theirs['drawn']}",
            )
            for ours, theirs in pairs
        ),
    )


def figures(viewers: dict[str, Any]) -> str:
    """Return the table of all that was measured with viewers."""
    rows = [
        (name(backend, row), row)
        for backend, result in viewers.items()
        for row in [
            *sorted(result["viewers"], key=lambda row: str(row["app"])),
            *(result[key] for key in ("crowd", "operations") if key in result),
            *result.get("past", []),
            *result.get("board", []),
        ]
    ]
    return table(
        "app | viewers | CPU per tick, ms | core in use | the other core | tick p50 / p99, ms"
        " | between ticks, s | reads per interval | memory, MB | frames after the end"
        " | step written to drawn, p50 / p99, ms",
        (
            (
                title,
                f"{row['viewers']} ({row['lost']} lost)" if row["lost"] else row["viewers"],
                row["cpu_per_tick_ms"],
                f"{row['cpu_share']:.0%}",
                f"{row['other_core']:.0%}",
                f"{row['tick_p50_ms'] or '-'} / {row['tick_p99_ms'] or '-'}",
                round(row["viewers"] * row["seconds"] / row["runs"], 2) if row["runs"] else None,
                row["reads_per_interval"],
                round(row["memory_mb"]),
                row["frames_after_end"],
                f"{row['delay_p50_ms'] or '-'} / {row['delay_p99_ms'] or '-'}",
            )
            for title, row in rows
        ),
    )


def long_life(viewers: dict[str, Any]) -> str:
    """Return what past operations, past sessions and many ticks cost."""
    sqlite = viewers["sqlite"]

    def past(key: str, what: str) -> str:
        few, many = sqlite[key]
        share = many["cpu_per_tick_ms"] / few["cpu_per_tick_ms"]
        return (
            f"A tick {what} takes {few['cpu_per_tick_ms']} ms of the processor with {few['past']}"
            f" past operations and {many['cpu_per_tick_ms']} ms with {many['past']:,}:"
            f" {share:.2f} times."
        )

    def sizes(row: Row) -> str:
        return ", ".join(f"{size:.0f}" for size in row["memory_mb"])

    churn, board = sqlite["churn"], sqlite["board_for_long"]
    return "\n\n".join(
        [
            past("past", "of the run page"),
            past("board", "of the board"),
            f"Memory while {churn['sessions']:,} sessions come and go, after each tenth of them,"
            f" in MB: {sizes(churn)}.",
            f"Memory while the board runs {board['runs']:,} times, after each tenth, in MB:"
            f" {sizes(board)}.",
        ]
    )


def crowd(viewers: dict[str, Any]) -> str:
    """Return what those who came last get when the others have gone."""
    row = viewers["sqlite"]["crowd_goes"]
    return (
        f"Of {row['viewers']} viewers, all go but the {row['staying']} that came last. Seconds"
        f" between the ticks of one, on the average over each 5 s that follow:"
        f" {', '.join(map(str, row['between_s']))}. The p99 of a tick meanwhile:"
        f" {row['tick_p99_ms']} ms."
    )


def polls(rows: dict[str, Any]) -> str:
    """Return what a poll costs beside a bare lookup."""
    return table(
        "backend | past operations | bare lookup, µs | one poll, µs | ratio"
        " | stand-in ready, s | start to begun, ms",
        (
            (
                backend,
                f"{poll['past']:,}" if poll["past"] else None,
                f"{poll['bare_us']:,}",
                f"{poll['poll_us']:,}",
                f"{poll['poll_us'] / poll['bare_us']:.2f}",
                row["ready_s"],
                row["pick_up_ms"],
            )
            for backend, row in rows.items()
            for poll in row["polls"]
        ),
    )


def starts(rows: dict[str, Any]) -> str:
    """Return what it takes until a page is served."""
    return table(
        "backend | bake, s | `make demo` to a page, cold, s | again, s | wheels, MB",
        (
            (backend, row["bake_s"], row["cold_s"], row["warm_s"], row["wheels_mb"])
            for backend, row in rows.items()
        ),
    )


def chart(viewers: dict[str, Any]) -> str:
    """Return a drawing of the p99 of a tick over the viewers, both axes logarithmic, as SVG."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for backend, result in viewers.items():
        for row in result["viewers"]:
            if row["tick_p99_ms"]:
                points = lines.setdefault(label(backend, row), [])
                points.append((row["viewers"], row["tick_p99_ms"]))
    counts = sorted({count for points in lines.values() for count, _ in points})

    def x(count: float) -> float:
        return 70 + 420 * math.log(count) / math.log(max([*counts, 2]))

    def y(milliseconds: float) -> float:
        return 300 - 54 * math.log10(max(milliseconds, 1))

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 350" font-size="13"'
        ' font-family="system-ui, sans-serif" fill="#334155" stroke-width="2">',
        '<rect width="680" height="350" rx="8" fill="#ffffff"/>',
        '<text x="70" y="28" font-size="15">99 of 100 ticks are drawn within ...</text>',
    ]
    for value, text in ((1, "1 ms"), (10, "10 ms"), (100, "0.1 s"), (1000, "1 s"), (1e4, "10 s")):
        parts.append(f'<path d="M70 {y(value):.0f}H490" stroke="#e2e8f0" stroke-width="1"/>')
        parts.append(f'<text x="60" y="{y(value) + 4:.0f}" text-anchor="end">{text}</text>')
    parts.append(f'<path d="M70 {y(500):.0f}H490" stroke="#94a3b8" stroke-dasharray="5 4"/>')
    parts.append(f'<text x="76" y="{y(500) - 6:.0f}" fill="#64748b">the interval</text>')
    for count in counts:
        parts.append(f'<text x="{x(count):.0f}" y="322" text-anchor="middle">{count}</text>')
    parts.append('<text x="280" y="341" text-anchor="middle">viewers of one server process</text>')
    ends = sorted(lines.items(), key=lambda line: line[1][-1][1])
    height = 400.0
    for colour, (name, points) in zip(COLOURS, reversed(ends), strict=False):
        path = " ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        parts += [
            f'<circle cx="{x(count):.1f}" cy="{y(value):.1f}" r="3.5" fill="{colour}"/>'
            for count, value in points
        ]
        # Names of lines that end close together stand below each other.
        height = y(points[-1][1]) if height == 400 else max(y(points[-1][1]), height + 18)
        parts.append(f'<text x="502" y="{height + 4:.0f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Print, and write if asked to."""
    viewers = load("compare")
    sections = {
        "viewers": figures(viewers),
        "polls": polls(load("poll")),
        "start": starts(load("start")),
    }
    if "sqlite" in viewers:
        sections |= {
            "ratios": ratios(viewers),
            "crowd": crowd(viewers),
            "long life": long_life(viewers),
        }
    print("\n\n".join(text for text in sections.values()))
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")
        for name, text in sections.items():
            marks = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
            page = marks.sub(rf"\1{text}\n\2", page)
        PAGE.write_text(page, encoding="utf-8")
        CHART.write_text(chart(viewers), encoding="utf-8")


if __name__ == "__main__":
    main()
