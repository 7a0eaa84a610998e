"""Messages about ended operations, sent by the runner to a real receiver."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from progress import notifications
from progress.backend.store import OperationStore
from progress.settings import ROOT
from tests.app.receiver import Messages, receiving
from tests.test_sqlite import insert, read, started, wait_for_end

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Apprise


@pytest.fixture
def receiver() -> Iterator[tuple[str, Messages]]:
    """The address of a receiver, and what arrived."""
    with receiving() as found:
        yield found


def configure(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "secrets.toml").write_text(text, "utf-8")
    monkeypatch.setattr("progress.settings.ROOT", folder)


def test_an_end_is_announced_with_the_reason_and_a_link(
    store: OperationStore,
    receiver: tuple[str, Messages],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, messages = receiver
    text = f'[notifications]\nurls = ["{url}"]\non = ["failed"]\napp = "https://jobs.example/x/"'
    configure(monkeypatch, tmp_path, text)
    failed = wait_for_end(store, started(store, "fail", "fast"))
    notifications.notify(failed)
    (message,) = messages
    assert message["title"] == "Failed: fail: fast"
    first, reason, link = message["message"].splitlines()
    assert re.fullmatch(r"After \d+(\.\d)? s\.", first)
    assert reason == "RuntimeError: the **third** step broke :red[badly]"
    assert link == f"https://jobs.example/x/?operation={failed.operation_id}"
    notifications.notify(wait_for_end(store, started(store, "succeed", "fast")))
    assert len(messages) == 1, "only failed ones"
    end = failed.created_at + timedelta(seconds=7384)
    notifications.notify(replace(failed, finished_at=end))
    assert messages[1]["message"].splitlines()[0] == "After 2 h 03 min."


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        (
            "[notifications]\nurls = ['nonsense', 'json://user:hunter2@127.0.0.1:1/']",
            [
                "[notifications] in secrets.toml: some of urls are invalid.",
                "Operation ID: not every message was sent.",
            ],
        ),
        (
            "[notifications]\nurls = ['json://user:hunter2@127.0.0.1:1/']",
            ["Operation ID: not every message was sent."],
        ),
        (
            "[notifications]\nurls = 5",
            ["A message was not sent (TypeError): check [notifications]."],
        ),
        ("[notifications]", []),
        (
            "[notifications\nhunter2",
            ["A message was not sent (SettingsError): check [notifications]."],
        ),
    ],
)
def test_what_is_wrong_is_logged_without_the_secrets(
    store: OperationStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    text: str,
    logged: list[str],
) -> None:
    configure(monkeypatch, tmp_path, text)
    operation_id = insert(store)
    notifications.notify(read(store, operation_id))
    expected = [line.replace("ID", operation_id) for line in logged]
    assert caplog.messages == expected
    assert "hunter2" not in caplog.text


def test_the_runner_sends_it(
    store: OperationStore, receiver: tuple[str, Messages], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, messages = receiver
    secrets = ROOT / ".streamlit" / "secrets.toml"
    assert not secrets.exists()
    secrets.write_text(f'[notifications]\nurls = ["{url}"]', "utf-8")
    try:
        wait_for_end(store, started(store, "die", "fast"))
        deadline = time.monotonic() + 60
        while not messages:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        secrets.unlink()
    assert messages[0]["title"] == "Failed: die: fast"
    assert "SIGKILL" in messages[0]["message"]
