"""What the server process does once, after its first page: finish imports, freeze the heap."""

import gc
import importlib
import threading

WARMUP_DELAY = 1.0
"""Seconds from the first page to this work, so that the page does not wait for it."""

_scheduled = threading.Lock()


def settle_soon() -> None:
    """Call `settle` a little later, in the background. Only the first call in a process does."""
    if _scheduled.acquire(blocking=False):
        timer = threading.Timer(WARMUP_DELAY, settle)
        timer.daemon = True  # it does not delay the end of the server
        timer.start()


def settle() -> None:
    """Import what the first outcome needs, and exclude all present objects from collections.

    Streamlit collects the whole heap after every script run, each tick of each viewer included,
    unless `postScriptGC` is off, as in .streamlit/config.toml. Python's own collections remain.
    They then only search through what came later: the sessions, which are freed as usual.
    """
    importlib.import_module("pandas")  # as Streamlit does with the first table: it takes seconds
    gc.collect()
    gc.freeze()
