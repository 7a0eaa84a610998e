"""How to test a job: give it a fake reporter. Replace the tests with your own, as in jobs.py."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

import jobs
from progress.contract import OperationCancelled
from progress.reporter import Reporter
from samples import transcript

CALL = """\
[00:00:00] Agent: Hello, this is Ana. How can I help you?
[00:00:10] Customer: My parcel is wrong, and I --
[00:00:13] Agent: Sorry! I will send a new parcel.
[00:01:10] Customer: Great, that works for me. Thank you.

[00:01:15] Agent: Anything else?
[00:02:05] Customer: Goodbye.
"""


class Recorder:
    """A fake reporter. It records what the job reports; step `cancel_at` is cancelled."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.cancelled = False
        self.totals: list[int] = []
        self.steps: list[str] = []
        self.failures: list[tuple[int, str]] = []
        self._cancel_at = cancel_at

    def total(self, steps: int) -> None:
        self.totals.append(steps)

    def step(self, description: str) -> None:
        self.steps.append(description)
        if len(self.steps) == self._cancel_at:
            raise OperationCancelled

    def track(self, items: Sequence[str], description: str) -> Iterator[str]:
        self.step(description)
        for item in items:
            if self.cancelled:
                raise OperationCancelled
            yield item

    def log(self, text: str) -> None:
        pass

    def step_failed(self, reason: BaseException | str) -> None:
        self.failures.append((len(self.steps), str(reason)))


def analyze(subject: str, recorder: Recorder | None = None) -> dict[str, Any]:
    """Run the sample job on one transcript."""
    report = cast(Reporter, recorder or Recorder())
    return jobs.analyze_transcription(report, subject, jobs.Analysis())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the steps follow each other immediately."""
    monkeypatch.setenv("STEP_SECONDS", "0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A samples folder with two calls."""
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "call.txt").write_text(CALL, encoding="utf-8")
    (samples / "other.txt").write_text("[00:00:00] Agent: A parcel, Zoë?\n", encoding="utf-8")
    monkeypatch.setattr(jobs, "SAMPLES", samples)
    return samples


@pytest.mark.parametrize("subject", jobs.subjects())
def test_each_subject_takes_the_announced_steps_and_returns_json(subject: str) -> None:
    recorder = Recorder()
    result = analyze(subject, recorder)
    assert recorder.totals == [18]
    assert len(recorder.steps) == 18
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_result_of_a_call(folder: Path) -> None:
    result = analyze("call.txt")
    assert result["metrics"]["Turns"] == 6
    assert result["metrics"]["Longest silence"] == "53 s"
    assert [row["Words"] for row in result["table"]] == [18, 14]
    assert [point["Customer"] for point in result["chart"]] == [-0.5, 0.67, 0.0]
    assert result["notes"][0] == "A call about a delivery, 2 min 06 s long, resolved."


def test_lines_that_are_not_turns_fail_one_step_only(folder: Path) -> None:
    (folder / "call.txt").write_text(f"(music)\n{CALL}", encoding="utf-8")
    recorder = Recorder()
    analyze("call.txt", recorder)
    assert recorder.failures == [(2, "1 line(s) ignored, the first: '(music)'")]
    assert len(recorder.steps) == 18


def test_an_unknown_subject_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="Choose one of: call"):
        analyze("../secrets.txt")


def test_a_cancelled_job_stops_at_that_step(folder: Path) -> None:
    recorder = Recorder(cancel_at=9)
    with pytest.raises(OperationCancelled):
        analyze("call.txt", recorder)
    assert len(recorder.steps) == 9


def test_a_long_loop_ends_early_when_cancelled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    compared: list[str] = []

    def long_words(text: str) -> list[str]:
        compared.append(text)
        recorder.cancelled = True  # the user cancels during the first comparison
        return []

    monkeypatch.setattr(transcript, "long_words", long_words)
    with pytest.raises(OperationCancelled):
        analyze("call.txt", recorder)
    assert recorder.steps[9] == "Comparing with the other transcripts"
    assert len(compared) == 1
