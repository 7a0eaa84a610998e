"""A sample job: Snowflake Cortex on the rows of a table, one step for each batch."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from progress.reporter import Reporter

BATCH = 8
"""Lines in each statement: enough to run in parallel, few enough to show progress."""

_LOAD = """
INSERT INTO TRANSCRIPT_LINES (TRANSCRIPT, LINE_NUMBER, SAID)
SELECT ?, ROW_NUMBER() OVER (ORDER BY INDEX), VALUE::VARCHAR
FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))
WHERE NOT EXISTS (SELECT 1 FROM TRANSCRIPT_LINES WHERE TRANSCRIPT = ?)
"""
_COUNT = "SELECT COUNT(*) AS LINES FROM TRANSCRIPT_LINES WHERE TRANSCRIPT = ?"
_SENTIMENT = """
SELECT LINE_NUMBER, AI_SENTIMENT(SAID) AS SENTIMENT FROM TRANSCRIPT_LINES
WHERE TRANSCRIPT = ? AND LINE_NUMBER BETWEEN ? AND ? ORDER BY LINE_NUMBER
"""
_SUMMARY = """
SELECT AI_SUMMARIZE_AGG(SAID) AS SUMMARY FROM TRANSCRIPT_LINES WHERE TRANSCRIPT = ?
"""
SCORES = {"positive": 1, "negative": -1}


def score_sentiment(report: Reporter, subject: str) -> dict[str, Any]:
    """Score the sentiment of each line of a transcript and summarize the call, with Cortex."""
    # Imported here, because only the procedure needs Snowpark: the app imports jobs.py, too.
    from snowflake.snowpark.context import get_active_session

    session = get_active_session()
    lines = int(session.sql(_COUNT, params=[subject]).collect()[0][0])
    if not lines:
        raise ValueError(f"TRANSCRIPT_LINES has no line of {subject!r}: load the samples.")
    report.total(math.ceil(lines / BATCH) + 1)
    scored: list[tuple[int, str]] = []
    for first in range(1, lines + 1, BATCH):
        last = min(first + BATCH - 1, lines)
        report.step(f"Scoring lines {first} to {last} of {lines}")
        for number, answer in session.sql(_SENTIMENT, params=[subject, first, last]).collect():
            scored.append((int(number), overall(answer)))
    report.step("Writing the summary")
    summary = session.sql(_SUMMARY, params=[subject]).collect()[0][0]
    counts = Counter(sentiment for _, sentiment in scored)
    return {
        "metrics": {"Lines": lines, **{name.capitalize(): counts[name] for name in SCORES}},
        "table": [{"Sentiment": name, "Lines": count} for name, count in counts.most_common()],
        "chart": [{"line": number, "Sentiment": SCORES.get(name, 0)} for number, name in scored],
        "notes": [str(summary)],
    }


def overall(answer: str | None) -> str:
    """Return the overall sentiment in an answer of AI_SENTIMENT, which may be NULL."""
    categories = json.loads(answer)["categories"] if answer else []
    return next((item["sentiment"] for item in categories if item["name"] == "overall"), "unknown")


def load_transcripts(execute: Callable[[str, Sequence[Any]], list[dict[str, Any]]]) -> None:
    """Insert the lines of the transcripts in this folder, unless they exist."""
    for file in sorted(Path(__file__).parent.glob("*.txt")):
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
        execute(_LOAD, (file.name, json.dumps(lines), file.name))


if __name__ == "__main__":
    import sys

    from progress.backend.account import Account, configured_options
    from progress.contract import BackendError

    try:
        load_transcripts(Account(configured_options()).execute)
    except BackendError as error:
        sys.exit(f"The transcripts could not be loaded: {error}")
