"""The sample job in all its cases; tests/test_jobs.py has those that show a user how to test."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

import jobs
from progress.contract import OperationCancelled
from tests.test_jobs import CALL, Recorder, analyze


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_SECONDS", "0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A samples folder with two calls, and a secret beside it."""
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "call.txt").write_text(CALL, encoding="utf-8")
    (samples / "other.txt").write_text("[00:00:00] Agent: A parcel, Zoë?\n", encoding="utf-8")
    (tmp_path / "secrets.txt").write_text("[00:00:00] Agent: Secret.\n", encoding="utf-8")
    monkeypatch.setattr(jobs, "SAMPLES", samples)
    return samples


def test_the_page_offers_the_five_samples_in_order() -> None:
    assert len(jobs.subjects()) == 5
    assert jobs.subjects() == sorted(jobs.subjects())
    assert next(iter(jobs.JOBS)) == "analyze_transcription"


@pytest.mark.parametrize("subject", jobs.subjects())
def test_each_sample_takes_the_eighteen_announced_steps(subject: str) -> None:
    recorder = Recorder()
    analyze(subject, recorder)
    assert recorder.totals == [18]
    assert len(recorder.steps) == len(set(recorder.steps)) == 18
    # One sample shows what a partial outcome looks like: its last line is not a turn.
    failed = [2] if subject.endswith("_dropped.txt") else []
    assert [step for step, _ in recorder.failures] == failed


@pytest.mark.parametrize("subject", jobs.subjects())
def test_each_result_is_small_json_that_the_page_can_draw(subject: str) -> None:
    result = analyze(subject)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    assert len(text) < 5_000
    assert set(result) == {"metrics", "table", "chart", "notes"}
    assert 1 <= len(result["metrics"]) <= 6
    assert all(isinstance(value, str | int) for value in result["metrics"].values())
    assert len({tuple(row) for row in result["table"]}) == 1, "all rows have the same columns"
    for row in result["table"]:
        assert all(isinstance(value, str | int | float | None) for value in row.values())
    for number, point in enumerate(result["chart"]):
        x, *lines = point
        assert (x, point[x]) == ("minute", number)
        assert lines == [row["Speaker"] for row in result["table"]]
        assert all(point[line] is None or -1 <= point[line] <= 1 for line in lines)
    assert all(isinstance(note, str) and "\n" not in note for note in result["notes"])


@pytest.mark.parametrize(
    ("subject", "topic", "resolved"),
    [
        ("call_de_20250924_003_lieferung.txt", "a delivery", "yes"),
        ("call_en_20250924_001_billing.txt", "billing", "yes"),
        ("call_en_20250924_002_upgrade.txt", "a new plan", "yes"),
        ("call_en_20250924_004_outage.txt", "an outage", "no"),
        ("call_en_20250924_005_dropped.txt", "an appointment", "no"),
    ],
)
def test_each_sample_is_understood(subject: str, topic: str, resolved: str) -> None:
    result = analyze(subject)
    assert result["metrics"]["Resolved"] == resolved
    assert f"about {topic}," in result["notes"][0]
    offered = "no" if "_dropped" in subject else "yes"
    assert f"Offer of more help at the end: {offered}." in result["notes"]


def test_the_angry_customer_ends_content() -> None:
    chart = analyze("call_en_20250924_001_billing.txt")["chart"]
    sentiment = [point["Customer"] for point in chart]
    assert min(sentiment[:3]) < -0.5
    assert max(sentiment[-2:]) > 0.5


def test_a_call_worked_out_by_hand(folder: Path) -> None:
    assert analyze("call.txt") == {
        "metrics": {
            "Turns": 6,
            "Duration": "2 min 06 s",
            "Talk time": "19 s",
            "Longest silence": "53 s",
            "Customer effort": "1 of 5",
            "Resolved": "yes",
        },
        "table": [
            {
                "Speaker": "Agent",
                "Talk time (s)": 11,
                "Words": 18,
                "Words per minute": 98,
                "Questions": 2,
                "Interruptions": 1,
                "Sentiment": -0.5,
            },
            {
                "Speaker": "Customer",
                "Talk time (s)": 8,
                "Words": 14,
                "Words per minute": 105,
                "Questions": 0,
                "Interruptions": 0,
                "Sentiment": 0.25,
            },
        ],
        "chart": [
            {"minute": 0, "Agent": -0.5, "Customer": -0.5},
            {"minute": 1, "Agent": 0.0, "Customer": 0.67},
            {"minute": 2, "Agent": None, "Customer": 0.0},
        ],
        "notes": [
            "A call about a delivery, 2 min 06 s long, resolved.",
            # "parcel" is used twice, but the other call has it too.
            "Keywords: anything, goodbye, parcel.",
            "Greeting with a name: yes.",
            "Offer of more help at the end: yes.",
            "Promised: I will send a new parcel.",
        ],
    }


def test_the_order_of_the_lines_does_not_matter(folder: Path) -> None:
    expected = analyze("call.txt")
    backwards = "\n".join(reversed(CALL.splitlines()))
    (folder / "call.txt").write_text(backwards, encoding="utf-8")
    assert analyze("call.txt") == expected


def test_turns_in_the_same_second_and_without_words_are_analyzed(folder: Path) -> None:
    text = "[00:00:01] Agent: Yes.\n[00:00:01] Customer: ...\n[00:00:01] Agent: No.\n"
    (folder / "call.txt").write_text(text, encoding="utf-8")
    result = analyze("call.txt")
    assert result["metrics"]["Longest silence"] == "0 s"
    assert result["chart"] == []
    assert "about something else" in result["notes"][0]


def test_lines_that_are_not_turns_change_nothing_else(folder: Path) -> None:
    expected = analyze("call.txt")
    (folder / "call.txt").write_text(f"(music)\n{CALL}[00:99:00] Agent: Late.\n", encoding="utf-8")
    recorder = Recorder()
    assert analyze("call.txt", recorder) == expected
    assert recorder.failures == [(2, "2 line(s) ignored, the first: '(music)'")]
    assert len(recorder.steps) == 18


@pytest.mark.parametrize("text", ["", "Agent: Hello?\n"])
def test_a_file_without_turns_is_refused(folder: Path, text: str) -> None:
    (folder / "call.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^call\.txt has no line like '\[00:01:12\] Agent: .*'$"):
        analyze("call.txt")


@pytest.mark.parametrize(
    "subject", ["../secrets.txt", "", ".", "unknown.txt", "call", "./call.txt", "{folder}/call.txt"]
)
def test_a_subject_that_is_not_offered_is_refused_in_one_line(folder: Path, subject: str) -> None:
    subject = subject.format(folder=folder)
    recorder = Recorder()
    with pytest.raises(ValueError, match="no transcript named") as refusal:
        analyze(subject, recorder)
    assert str(refusal.value) == (
        f"There is no transcript named {subject!r} in samples/. Choose one of: call.txt, other.txt"
    )
    assert recorder.steps == []


@pytest.mark.parametrize("value", ["half", "1s", "-1", "nan", "inf", "3601", " "])
def test_invalid_step_seconds_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("STEP_SECONDS", value)
    recorder = Recorder()
    with pytest.raises(ValueError, match="STEP_SECONDS") as refusal:
        analyze(jobs.subjects()[0], recorder)
    assert str(refusal.value) == (
        f"STEP_SECONDS must be a number of seconds from 0 to 3600, not {value!r}."
    )
    assert recorder.steps == []


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, 0.5), ("", 0.5), ("0", 0.0), ("0.25", 0.25), ("3", 3.0)]
)
def test_every_step_waits_step_seconds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, seconds: float
) -> None:
    if value is None:
        monkeypatch.delenv("STEP_SECONDS")
    else:
        monkeypatch.setenv("STEP_SECONDS", value)
    recorder = Recorder()
    waits: Counter[int] = Counter()
    monkeypatch.setattr(time, "sleep", lambda pause: waits.update({len(recorder.steps): pause}))
    analyze("call.txt", recorder)
    assert waits == dict.fromkeys(range(1, 19), seconds)


@pytest.mark.parametrize("cancel_at", [1, 2, 18])
def test_a_cancelled_job_stops_at_any_step(folder: Path, cancel_at: int) -> None:
    recorder = Recorder(cancel_at)
    with pytest.raises(OperationCancelled):
        analyze("call.txt", recorder)
    assert len(recorder.steps) == cancel_at
