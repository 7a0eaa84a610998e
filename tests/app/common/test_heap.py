"""The heap is frozen once, in the background, and garbage that comes later is still freed."""

import gc
import sys
import threading
import tomllib
import weakref
from collections.abc import Iterator

import pytest

from progress import heap
from progress.settings import ROOT


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose heap is not frozen yet; afterwards the heap of the tests is not either."""
    monkeypatch.setattr(heap, "_scheduled", threading.Lock())
    monkeypatch.setattr(heap, "WARMUP_DELAY", 0.0)
    yield
    gc.unfreeze()


class Node:
    """One half of a cycle, which only the collector can free."""

    def __init__(self) -> None:
        self.other = self


def test_present_objects_are_excluded_from_later_collections() -> None:
    gc.unfreeze()
    keep = Node()
    heap.settle()
    assert gc.get_freeze_count() > 0
    assert not any(found is keep for found in gc.get_objects())


def test_present_garbage_is_freed_not_frozen() -> None:
    gone = weakref.ref(Node())
    heap.settle()
    assert gone() is None


def test_garbage_that_comes_later_is_freed() -> None:
    heap.settle()
    gone = weakref.ref(Node())
    more = [Node() for _ in range(100_000)]  # Python collects by the number of new objects
    assert more
    assert gone() is None


def test_the_first_outcome_finds_its_modules_imported() -> None:
    heap.settle()
    assert "pandas" in sys.modules


def test_only_the_first_call_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    done = threading.Event()

    def settle() -> None:
        calls.append(threading.current_thread())
        done.set()

    monkeypatch.setattr(heap, "settle", settle)
    for _ in range(3):
        heap.settle_soon()
    assert done.wait(10)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(10)
    assert len(calls) == 1
    assert calls[0] is not threading.main_thread()
    assert calls[0].daemon


def test_streamlit_does_not_collect_after_every_run() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["runner"]["postScriptGC"] is False
