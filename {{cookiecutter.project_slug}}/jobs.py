"""YOUR work: the jobs that the page can start. This is the one file that you must edit.

Replace three things; then see README.md for how to delete the sample:
    subjects()   what the page offers to work on: file names, table names, order numbers. It is
                 called once for all viewers, and again after 5 minutes, an edit or "Refresh"
    a job        a function that takes (report, subject), does the work and returns a dict or None
    JOBS         the jobs by name: what the page can start. A function, or a Job(function, ...) with
                 parameters, a time limit, retries, subjects of its own: see progress/job.py

A job reports its progress through `report`:
    report.total(18)             the number of steps; leave it out if you do not know it
    report.step("Doing this")    starts the next step; a cancelled job stops here
    report.step_failed("why")    the current step failed, the job goes on: it will end as "partial"
    report.track(rows, "Loading")  a step that is a loop: its bar counts the rows, and it stops, too
    report.metric("Rows", 42)    a figure that the page shows while the job runs
    report.log("text")           a line in the log of the operation, as is all that the job prints
    report.result({...})         what there is of the result so far: it also survives a failure
    report.file("report.pdf")    a file that the page offers
    report.cancelled             True once the user has requested cancel: for other long loops
Threads may share `report`. Another process cannot use it: let it return what there is to report.
If a job raises an exception, the operation is "failed" and the page shows the message.

The page draws the dict that a job returns. Every key is optional:
    {"metrics": {"Turns": 42, "Talk time": "6 min 12 s"},              named figures; 50 are drawn
     "table": [{"Speaker": "Agent", "Words": 310}, ...],               one dict per row
     "chart": [{"minute": 0, "Agent": 0.1, "Customer": None}, ...],    first key x, the others lines
     "notes": ["Plain text, one line each."]}
It is stored as JSON, at most 5 MB; a table that is larger becomes a CSV file, of which the page
draws a part. Dates, data frames, numpy values, dataclasses and the like are converted; of other
values the text is stored, and the page names them.
"""

import os
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from progress.job import Job, Jobs
from progress.reporter import Reporter
from progress.ui.formats import format_duration
from samples import MORE_JOBS, transcript

SAMPLES = Path(__file__).parent / "samples"


def subjects() -> list[str]:
    """Return what the page offers to work on: the transcripts in samples/."""
    return sorted(path.name for path in SAMPLES.glob("*.txt"))


class Analysis(BaseModel):
    """The parameters of the sample job: the page draws a form from them, and checks the values."""

    keywords: int = Field(default=6, ge=1, le=20, description="How many keywords to choose.")


def analyze_transcription(report: Reporter, subject: str, parameters: Analysis) -> dict[str, Any]:
    """Analyze one call transcript in eighteen steps."""
    names = subjects()
    if subject not in names:  # check what comes from outside: it could be "../secrets.txt"
        raise ValueError(
            f"There is no transcript named {subject!r} in samples/."
            f" Choose one of: {', '.join(names)}"
        )
    seconds = step_seconds()
    report.total(18)

    def step(description: str) -> None:
        report.step(description)
        time.sleep(seconds)  # the work itself is fast: this lets you watch the progress

    step("Reading the transcript")
    text = (SAMPLES / subject).read_text(encoding="utf-8")

    step("Splitting it into turns")
    turns, other_lines = transcript.parse(text)
    if not turns:
        raise ValueError(f"{subject} has no line like '[00:01:12] Agent: Good morning.'")
    if other_lines:
        first = other_lines[0][:80]
        report.step_failed(f"{len(other_lines)} line(s) ignored, the first: {first!r}")
    speakers = list(dict.fromkeys(turn.speaker for turn in turns))
    agent = [turn for turn in turns if turn.speaker == speakers[0]]  # who answers the call
    customer = [turn for turn in turns if turn.speaker != speakers[0]]

    step("Measuring talk time")
    talk_time = transcript.sum_by_speaker(turns, lambda turn: turn.talk_time)

    step("Finding the longest silence")
    silence = max(turn.silence for turn in turns)

    step("Counting interruptions")
    interrupting = [after for before, after in pairwise(turns) if before.is_interrupted]
    interruptions = transcript.sum_by_speaker(interrupting, lambda turn: 1)

    step("Counting questions")
    questions = transcript.sum_by_speaker(turns, lambda turn: turn.text.count("?"))

    step("Measuring words per minute")
    words = transcript.sum_by_speaker(turns, lambda turn: transcript.word_count(turn.text))
    pace = {name: round(60 * words[name] / talk_time[name]) for name in speakers}

    step("Scoring sentiment")
    sentiment = {name: transcript.sentiment(turns, name) for name in speakers}

    step("Scoring sentiment by minute")
    chart: list[dict[str, Any]] = []
    for minute in range(turns[-1].start // 60 + 1):
        in_minute = [turn for turn in turns if turn.start // 60 == minute]
        scores = {name: transcript.sentiment(in_minute, name) for name in speakers}
        chart.append({"minute": minute, **scores})

    used_in: Counter[str] = Counter()  # word -> the number of transcripts that contain it
    for name in report.track(names, "Comparing with the other transcripts"):
        used_in.update(set(transcript.long_words((SAMPLES / name).read_text(encoding="utf-8"))))
        time.sleep(seconds / len(names))

    step("Choosing keywords")
    keywords = transcript.keywords(turns, used_in, len(names), parameters.keywords)
    report.log(f"Keywords: {', '.join(keywords)}")

    step("Naming the topic")
    topic = transcript.topic(turns)

    step("Collecting promises")
    promises = transcript.promises(agent)

    step("Checking the greeting")
    greeted = transcript.greets(agent)

    step("Checking the closing")
    offered = transcript.offers_more(agent)

    step("Estimating customer effort")
    effort = transcript.effort(customer)

    step("Detecting the resolution")
    resolved = transcript.resolved(customer)

    step("Writing the summary")
    duration = format_duration(turns[-1].start + turns[-1].seconds)
    return {
        "metrics": {
            "Turns": len(turns),
            "Duration": duration,
            "Talk time": format_duration(sum(talk_time.values())),
            "Longest silence": f"{silence} s",
            "Customer effort": f"{effort} of 5",
            "Resolved": "yes" if resolved else "no",
        },
        "table": [
            {
                "Speaker": name,
                "Talk time (s)": talk_time[name],
                "Words": words[name],
                "Words per minute": pace[name],
                "Questions": questions[name],
                "Interruptions": interruptions[name],
                "Sentiment": sentiment[name],
            }
            for name in speakers
        ],
        "chart": chart if len(chart) > 1 else [],  # a single point is not a line
        "notes": [
            f"A call about {topic}, {duration} long, {'' if resolved else 'not '}resolved.",
            f"Keywords: {', '.join(keywords)}.",
            f"Greeting with a name: {'yes' if greeted else 'no'}.",
            f"Offer of more help at the end: {'yes' if offered else 'no'}.",
            *(f"Promised: {sentence}" for sentence in promises),
        ],
    }


JOBS: Jobs = {
    "analyze_transcription": Job(analyze_transcription, parameters=Analysis),
    **MORE_JOBS,
}


def step_seconds() -> float:
    """Return how long the sample job waits in each step: STEP_SECONDS, or 0.5 s by default."""
    value = os.environ.get("STEP_SECONDS") or "0.5"
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 3600:  # also refuses "nan"
        raise ValueError(f"STEP_SECONDS must be a number of seconds from 0 to 3600, not {value!r}.")
    return seconds
