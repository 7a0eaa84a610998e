"""How values read on a page."""

import pytest

from progress.text import duration, plain, steps


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.9, "12 s"),
        (59.99, "59 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (6, 18, "6 of 18 steps"),
        (1, 1, "1 of 1 step"),
        (0, None, "0 steps"),
        (1, None, "1 step"),
    ],
)
def test_steps(current: int, total: int | None, text: str) -> None:
    assert steps(current, total) == text


def test_markdown_is_escaped() -> None:
    assert plain("a *b* <i> $x$ :red[c] \\") == r"a \*b\* \<i\> \$x\$ \:red\[c\] \\"
    assert plain("Größe 😀") == "Größe 😀"
