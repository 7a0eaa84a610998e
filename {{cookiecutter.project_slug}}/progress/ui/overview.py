"""What the board shows of an overview. Each part is made once for all viewers."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pyarrow as pa

from progress.operation import Operation, Status
from progress.overview import SAMPLES, Overview
from progress.session import resources
from progress.ui import running
from progress.ui.bars import SMALL, bar
from progress.ui.cards import Figure, cards
from progress.ui.charts import data_of, with_gaps
from progress.ui.formats import format_duration, format_rate, format_status, format_steps
from progress.ui.titles import operation_title

KEPT = 128
"""Overviews whose parts are kept: where each owner sees only their own, one for each."""


@lru_cache(KEPT)
def counts(overview: Overview | None) -> str:
    """Return the number of operations in each status, as HTML; without an overview, "?"."""
    return cards(
        [
            Figure(
                format_status(status),
                "?" if overview is None else f"{overview.counts.get(status, 0):,}",
            )
            for status in Status
        ]
    )


@lru_cache(KEPT)
def active(overview: Overview, accent: str) -> str:
    """Return a bar for each active operation, as HTML; `accent` is the color of the bars."""
    parts = [
        bar(
            operation_title(operation.job, operation.subject),
            describe(operation),
            operation,
            accent,
        )
        for operation in overview.active
    ]
    if (more := overview.active_count - len(overview.active)) > 0:
        parts.append(f"and {more:,} more")
    if not parts:
        parts.append("No operation is active. A started operation appears here.")
    items = "".join(f'<li style="margin:0 0 1rem">{part}</li>' for part in parts)
    return f'<ul style="{SMALL};list-style:none;margin:0;padding:0">{items}</ul>'


def describe(operation: Operation) -> str:
    """Return how far an active operation is, its rate, and the time that is left."""
    parts = [format_steps(operation.current_step, operation.total_steps)]
    if operation.status == Status.QUEUED or not (operation.current_step or operation.total_steps):
        parts = [format_status(operation.status).lower()]  # some services have no steps
    if operation.rate:
        parts.append(format_rate(operation.rate))
    if left := running.time_left(operation):
        parts.append(left)
    if operation.is_cancelling:
        parts.append("cancelling")
    if running.is_stale(operation):
        parts.append(f"no heartbeat for {format_duration(operation.heartbeat_age)}")
    return " · ".join(parts)


@lru_cache(KEPT)
def throughput(overview: Overview) -> pa.Table:
    """Return the steps per second of all active operations over the latest reads, for a chart."""
    samples = overview.samples
    end = samples[-1].at if samples else datetime.now(UTC)
    start = end - timedelta(seconds=SAMPLES * resources.SETTINGS.poll_interval)
    points = [(sample.at, sample.rate) for sample in samples if sample.at > start]
    # The axis begins where the first sample will leave the window.
    return data_of([(start, None), *with_gaps(points or [(end, None)])])
