"""`python -m dev`, before it starts anything."""

import sys

import pytest

from dev.__main__ import main


@pytest.mark.parametrize(("system", "supported"), [("linux", 1), ("darwin", 1), ("win32", 0)])
def test_a_system_that_is_not_supported_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system: str, supported: int
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("PORT", "none")  # ends it before it starts a server
    assert main() == 2
    *lines, port = capsys.readouterr().err.splitlines()
    assert port.startswith("PORT=none is not a port.")
    named = "win32 is not supported, and parts of the project fail here: use Linux or macOS, or WSL"
    assert lines == ([] if supported else [f"{named} on Windows."])
