"""What the server process does once, after its first page: import the rest, settle the heap."""

import gc
import importlib
import threading

CALM = 1.0
"""Seconds after the first page before the work begins, so that the page does not wait for it."""
LATER = ("pandas", "altair")
"""What Streamlit imports with the first table or chart, which takes seconds."""

_begun = threading.Lock()


def settle_soon() -> None:
    """Settle the heap a little later, in the background. Only the first call in a process does."""
    if _begun.acquire(blocking=False):
        timer = threading.Timer(CALM, settle)
        timer.daemon = True  # a server that is told to stop does not wait for it
        timer.start()


def settle() -> None:
    """Import what the first outcome needs, and take all that is there out of later collections.

    Streamlit collects the whole heap after every script run, each tick of each viewer included,
    unless `postScriptGC` is off, as in .streamlit/config.toml. Python's own collections, which
    then remain, look only through what came after this: the sessions, which are freed as ever.
    """
    for name in LATER:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
