"""Turn the figures in build/bench into tables and a chart. The last part of `make bench`.

Usage: python benchmarks/report.py [--write]

It prints the tables. With --write they go between the marks in docs/performance.md (a short table
for each question) and in docs/benchmarks/ (all figures), and the chart to docs/pictures/.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parents[1]
INTERVAL = 0.5
COLOURS = ("#b45309", "#0f766e", "#1d4ed8", "#7c3aed", "#475569")

Row = dict[str, Any]
Results = dict[str, Any]
"""What was measured, by backend."""


def load(kind: str) -> Results:
    """Return the figures of a kind."""
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
    """Return the name of the app in a row."""
    return "the rule's pattern" if row["app"] == "pattern" else backend


def between(row: Row, name: str) -> str:
    """Return the p50 and the p99 of a time in milliseconds."""
    return f"{row[f'{name}_p50_ms'] or '-'} / {row[f'{name}_p99_ms'] or '-'}"


def seconds_between_ticks(row: Row) -> float | None:
    """Return the average time between the ticks of one viewer."""
    return round(row["viewers"] * row["seconds"] / row["runs"], 2) if row["runs"] else None


def by_viewers(compare: Results, head: str, cells: Callable[[Row, Row], Iterable[object]]) -> str:
    """Return a table that compares the app with the rule's pattern, a row per number of viewers."""
    rows = compare["sqlite"]["viewers"]
    pattern = {row["viewers"]: row for row in rows if row["app"] == "pattern"}
    ours = [row for row in rows if row["app"] == "rendered" and row["viewers"] in pattern]
    return table(
        f"viewers | {head}",
        ((row["viewers"], *cells(row, pattern[row["viewers"]])) for row in ours),
    )


def ratio(of: float | None, to: float | None) -> str | None:
    """Return the share that the first is of the second, as 1/6.9."""
    return f"1/{to / of:.1f}" if of and to else None


def cost(compare: Results) -> str:
    """Return what a viewer costs, as a share of what it costs with the rule's pattern."""

    def cells(ours: Row, theirs: Row) -> Iterable[object]:
        # A server that answered less than half of its ticks has no times, only bounds of them.
        enough = theirs["drawn"] * INTERVAL * 2 > theirs["viewers"] * theirs["seconds"]
        times = ratio(ours["tick_p99_ms"], theirs["tick_p99_ms"])
        return (
            ratio(ours["cpu_per_tick_ms"], theirs["cpu_per_tick_ms"]),
            times if enough or times is None else f"below {times}",
            f"{ours['drawn']} against {theirs['drawn']}",
        )

    return by_viewers(compare, "CPU per tick | tick p99 | ticks drawn", cells)


def limit(compare: Results) -> str:
    """Return how a process with SQLite does with more and more viewers."""
    sqlite = compare["sqlite"]
    rows = [row for row in sqlite["viewers"] if row["app"] == "rendered"] + [sqlite["overload"]]
    return table(
        "viewers | core in use | tick p50 / p99, ms | seconds between ticks",
        (
            (
                row["viewers"],
                f"{row['cpu_share']:.0%}",
                between(row, "tick"),
                seconds_between_ticks(row),
            )
            for row in rows
        ),
    )


def delay(compare: Results) -> str:
    """Return the time from the moment a step is written to the moment it is drawn."""
    return by_viewers(
        compare,
        "this app, p50 / p99, ms | the rule's pattern, p50 / p99, ms",
        lambda ours, theirs: (between(ours, "delay"), between(theirs, "delay")),
    )


def reads(compare: Results) -> str:
    """Return the reads of the database per poll interval."""
    return by_viewers(
        compare,
        "this app | the rule's pattern",
        lambda ours, theirs: (ours["reads_per_interval"], theirs["reads_per_interval"]),
    )


def memory(compare: Results) -> str:
    """Return the memory of the server."""
    return by_viewers(
        compare,
        "this app, MB | the rule's pattern, MB",
        lambda ours, theirs: (round(ours["memory_mb"]), round(theirs["memory_mb"])),
    )


def pages(compare: Results) -> str:
    """Return what past operations cost on the run page and on the board."""
    sqlite = compare["sqlite"]
    return table(
        "page | past operations | viewers | CPU per tick, ms | tick p50 / p99, ms"
        " | reads per interval",
        (
            (
                row["page"] or "run",
                f"{row['past']:,}",
                row["viewers"],
                row["cpu_per_tick_ms"],
                between(row, "tick"),
                row["reads_per_interval"],
            )
            for row in (*sqlite["past"], *sqlite["board"])
        ),
    )


def side_by_side(compare: Results) -> str:
    """Return what a tick of each page costs, compared with an empty fragment and the run page."""
    ticks = compare["sqlite"]["side_by_side"]["cpu_per_tick_ms"]
    titles = {"empty": "an empty fragment", "run": "run", "board": "board", "feed": "live feed"}
    return table(
        "page | CPU per tick, ms | above the empty fragment, ms | times the run page",
        (
            (
                titles[page],
                f"{cost:.2f}",
                f"{cost - ticks['empty']:.2f}",
                f"{cost / ticks['run']:.2f}",
            )
            for page, cost in ticks.items()
        ),
    )


def polls(rows: Results) -> str:
    """Return what a poll costs compared to a bare lookup."""
    return table(
        "backend | past operations | bare lookup, µs | one poll, µs | ratio"
        " | created to started, ms",
        (
            (
                backend,
                f"{poll['past']:,}" if poll["past"] else None,
                f"{poll['bare_us']:,}",
                f"{poll['poll_us']:,}",
                f"{poll['poll_us'] / poll['bare_us']:.2f}",
                row["pick_up_ms"],
            )
            for backend, row in rows.items()
            for poll in row["polls"]
        ),
    )


def starts(rows: Results, poll: Results) -> str:
    """Return what it takes until a page is served."""
    return table(
        "backend | bake, s | `make demo` to a page, cold, s | again, s | local server ready, s"
        " | wheels, MB",
        (
            (
                backend,
                row["bake_s"],
                row["cold_s"],
                row["warm_s"],
                poll.get(backend, {}).get("ready_s"),
                row["wheels_mb"],
            )
            for backend, row in rows.items()
        ),
    )


def all_viewers(compare: Results) -> str:
    """Return every figure that was measured with viewers."""

    def title(backend: str, row: Row) -> str:
        name = label(backend, row)
        if row["operations"] > 1:
            name += ", as many operations"
        if row["page"]:
            name += f", {row['page']}"
        if row["past"]:
            name += f", {row['past']:,} past operations"
        return name

    rows = [
        (title(backend, row), row)
        for backend, result in compare.items()
        for row in [
            *sorted(result["viewers"], key=lambda row: str(row["app"])),
            *(result[key] for key in ("overload", "operations") if key in result),
            *result.get("past", []),
            *result.get("board", []),
        ]
    ]
    return table(
        "app | viewers | CPU per tick, ms | core in use | the other core | tick p50 / p99, ms"
        " | seconds between ticks | reads per interval | memory, MB | frames after the end"
        " | step written to drawn, p50 / p99, ms",
        (
            (
                name,
                f"{row['viewers']} ({row['lost']} lost)" if row["lost"] else row["viewers"],
                row["cpu_per_tick_ms"],
                f"{row['cpu_share']:.0%}",
                f"{row['other_core']:.0%}",
                between(row, "tick"),
                seconds_between_ticks(row),
                row["reads_per_interval"],
                round(row["memory_mb"]),
                row["frames_after_end"],
                between(row, "delay"),
            )
            for name, row in rows
        ),
    )


def over_time(compare: Results) -> str:
    """Return what memory and intervals do while a server runs."""
    sqlite = compare["sqlite"]
    churn, board, recovery = (sqlite[key] for key in ("churn", "board_for_long", "recovery"))

    def sizes(row: Row) -> list[object]:
        return [f"{size:.0f}" for size in row["memory_mb"]]

    tenths = " | ".join(f"{number} %" for number in range(10, 101, 10))
    return "\n\n".join(
        [
            "Memory of the server in MB, after each tenth:",
            table(
                f"while | {tenths}",
                (
                    [f"{churn['sessions']:,} sessions come and go", *sizes(churn)],
                    [f"the board runs {board['runs']:,} times", *sizes(board)],
                ),
            ),
            f"Of {recovery['viewers']} viewers, all leave but the {recovery['staying']} that came"
            " last. Seconds between the ticks of one, on average over each 5 s that follow:"
            f" {', '.join(map(str, recovery['between_s']))}. The p99 of a tick in that time:"
            f" {recovery['tick_p99_ms']} ms.",
        ]
    )


def chart(compare: Results) -> str:
    """Return a drawing of the p99 of a tick over the viewers, both axes logarithmic, as SVG."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for backend, result in compare.items():
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
        # Names of lines that end close together are drawn below each other.
        height = y(points[-1][1]) if height == 400 else max(y(points[-1][1]), height + 18)
        parts.append(f'<text x="502" y="{height + 4:.0f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Print the tables; write them if asked to."""
    compare, poll, start = load("compare"), load("poll"), load("start")
    tables = {
        "all viewers": all_viewers(compare),
        "polls": polls(poll),
        "starts": starts(start, poll),
    }
    if "sqlite" in compare:
        tables |= {
            "cost": cost(compare),
            "limit": limit(compare),
            "delay": delay(compare),
            "reads": reads(compare),
            "pages": pages(compare),
            "side by side": side_by_side(compare),
            "memory": memory(compare),
            "over time": over_time(compare),
        }
    print("\n\n".join(tables.values()))
    if "--write" not in sys.argv:
        return
    docs = TEMPLATE / "docs"
    for file in (docs / "performance.md", *(docs / "benchmarks").glob("*.md")):
        text = file.read_text(encoding="utf-8")
        for name, figures in tables.items():
            marks = re.compile(f"(<!-- {name} -->\\n).*?(<!-- end -->)", re.DOTALL)
            text = marks.sub(rf"\1{figures}\n\2", text)
        file.write_text(text, encoding="utf-8")
    (docs / "pictures" / "viewers.svg").write_text(chart(compare), encoding="utf-8")


if __name__ == "__main__":
    main()
