"""YOUR work: the jobs that the page can start. This is the one file that you must edit.

Replace three things; README.md says how to delete the sample then:
    subjects()   what the page offers to work on: file names, table names, order numbers
    a job        a function that takes (report, subject), does the work and returns a dict or None
    JOBS         name -> job: what the page can start

A job says how far it is through `report`:
    report.total(18)             how many steps there are; leave it out if you cannot know
    report.step("Doing this")    begins the next step, ends the former; a cancelled job stops here
    report.step_failed("why")    the step in hand failed, the job goes on: it ends as "partial"
    report.cancelled             True when the user asked to cancel: check it inside a long loop
An exception that leaves the job makes the operation "failed"; its text is shown, so word it well.

The page draws what a job returns. Every key is optional:
    {"metrics": {"Turns": 42, "Talk time": "6 min 12 s"},              up to six figures
     "table": [{"Speaker": "Agent", "Words": 310}, ...],               one dict per row
     "chart": [{"minute": 0, "Agent": 0.1, "Customer": None}, ...],    first column x, others lines
     "notes": ["Plain text, one line each."]}
It is stored as JSON: dicts and lists of text, numbers, booleans and None. Keep it small.

Jobs run in another process: print() goes to the log of that process, not to the page.
"""

import os
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from progress.reporter import Job, Reporter
from progress.ui.formats import format_duration
from samples import MORE_JOBS, transcript

SAMPLES = Path(__file__).parent / "samples"


def subjects() -> list[str]:
    """List what the page offers: the transcripts in samples/."""
    return sorted(path.name for path in SAMPLES.glob("*.txt"))


def analyze_transcription(report: Reporter, subject: str) -> dict[str, Any]:
    """Work through one call transcript in eighteen steps."""
    names = subjects()
    if subject not in names:  # it comes from outside, and could be "../secrets.txt"
        raise ValueError(
            f"There is no transcript named {subject!r} in samples/."
            f" Choose one of: {', '.join(names)}"
        )
    seconds = step_seconds()
    report.total(18)

    def step(description: str) -> None:
        report.step(description)
        time.sleep(seconds)  # the work itself is quick: this lets you watch the progress

    step("Reading the transcript")
    text = (SAMPLES / subject).read_text(encoding="utf-8")

    step("Splitting it into turns")
    turns, strays = transcript.parse(text)
    if not turns:
        raise ValueError(f"{subject} has no line like '[00:01:12] Agent: Good morning.'")
    if strays:
        report.step_failed(f"{len(strays)} line(s) left out, the first: {strays[0][:80]!r}")
    speakers = list(dict.fromkeys(turn.speaker for turn in turns))
    agent = [turn for turn in turns if turn.speaker == speakers[0]]  # the one who answers the call
    customer = [turn for turn in turns if turn.speaker != speakers[0]]

    step("Measuring talk time")
    talk = transcript.tally(turns, lambda turn: turn.talk)

    step("Finding the longest silence")
    silence = max(turn.silence for turn in turns)

    step("Counting interruptions")
    cuts = [after for before, after in pairwise(turns) if before.cut_off]
    interruptions = transcript.tally(cuts, lambda turn: 1)

    step("Counting questions")
    questions = transcript.tally(turns, lambda turn: turn.text.count("?"))

    step("Measuring words per minute")
    words = transcript.tally(turns, lambda turn: transcript.word_count(turn.text))
    pace = {name: round(60 * words[name] / talk[name]) for name in speakers}

    step("Scoring sentiment")
    mood = {name: transcript.sentiment(turns, name) for name in speakers}

    step("Following sentiment by minute")
    chart: list[dict[str, Any]] = []
    for minute in range(turns[-1].start // 60 + 1):
        now = [turn for turn in turns if turn.start // 60 == minute]
        lines = {name: transcript.sentiment(now, name) for name in speakers}
        chart.append({"minute": minute, **lines})

    step("Comparing with the other transcripts")
    used_in: Counter[str] = Counter()  # a word -> how many transcripts have it
    for name in names:
        if report.cancelled:
            break  # a long loop need not go on to its end: the next step() stops the job
        used_in.update(set(transcript.long_words((SAMPLES / name).read_text(encoding="utf-8"))))

    step("Choosing keywords")
    keywords = transcript.keywords(turns, used_in, len(names))

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
    length = format_duration(turns[-1].start + turns[-1].room)
    return {
        "metrics": {
            "Turns": len(turns),
            "Length": length,
            "Talk time": format_duration(sum(talk.values())),
            "Longest silence": f"{silence} s",
            "Customer effort": f"{effort} of 5",
            "Resolved": "yes" if resolved else "no",
        },
        "table": [
            {
                "Speaker": name,
                "Talk time (s)": talk[name],
                "Words": words[name],
                "Words per minute": pace[name],
                "Questions": questions[name],
                "Interruptions": interruptions[name],
                "Sentiment": mood[name],
            }
            for name in speakers
        ],
        "chart": chart if len(chart) > 1 else [],  # one point makes no line
        "notes": [
            f"A call about {topic}, {length} long, {'' if resolved else 'not '}resolved.",
            f"Keywords: {', '.join(keywords)}.",
            f"Greeting with a name: {'yes' if greeted else 'no'}.",
            f"Offer of more help at the end: {'yes' if offered else 'no'}.",
            *(f"Promised: {sentence}" for sentence in promises),
        ],
    }


JOBS: dict[str, Job] = {"analyze_transcription": analyze_transcription, **MORE_JOBS}


def step_seconds() -> float:
    """Return how long the sample job waits in each step: STEP_SECONDS, or half a second."""
    value = os.environ.get("STEP_SECONDS") or "0.5"
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 3600:  # "nan" ends here, too
        raise ValueError(f"STEP_SECONDS must be a number of seconds from 0 to 3600, not {value!r}.")
    return seconds
