"""What the live feed shows of its rows. Each part is made once for all viewers."""

from functools import lru_cache

import pyarrow as pa

from progress.feed import Row
from progress.ui.cards import Figure, cards
from progress.ui.charts import data_of, with_gaps

Rows = tuple[Row, ...]


@lru_cache(maxsize=2)
def latest(rows: Rows) -> str:
    """Return the latest value of each name, and how much it differs from the one before, as HTML.

    Without a color: only the user knows whether more is better.
    """
    figures = []
    for name in names(rows):
        values = [row.figures[name] for row in rows if name in row.figures]
        change = f"{values[-1] - values[-2]:+,.10g}" if len(values) > 1 else ""
        figures.append(Figure(name, f"{values[-1]:,.10g}", change))
    return cards(figures)


@lru_cache(maxsize=2)
def series(rows: Rows) -> dict[str, pa.Table]:
    """Return the data of a chart for each name."""
    return {
        name: data_of(with_gaps([(row.at, row.figures.get(name)) for row in rows]))
        for name in names(rows)
    }


def names(rows: Rows) -> list[str]:
    """Return the names of the figures, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row.figures))
