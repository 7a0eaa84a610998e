"""Drives the app without a browser, with AppTest. Fragments run inline, without timers."""

import re
import time
from collections.abc import Callable
from html import unescape
from typing import Any

from streamlit.testing.v1 import AppTest

from progress.session import resources, tracking
from progress.session.tracking import Entry
from progress.settings import ROOT

TESTER = "test@example.com"
"""The login of AppTest."""


def open_page(name: str = "run", **query: str | list[str]) -> AppTest:
    """Open the app at a page."""
    page = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page if name == "run" else switch_page(page, name)


def switch_page(page: AppTest, name: str) -> AppTest:
    """Open another page in the same session."""
    page.switch_page(f"app_pages/{name}.py").run()
    assert not page.exception
    return page


def start(page: AppTest, job: str, subject: str = "fast") -> AppTest:
    """Select a job and a subject, and press the start button."""
    page.selectbox(key="job").set_value(job)
    page.selectbox(key="subject").set_value(subject)
    return click(page, "start")


def click(page: AppTest, key: str) -> AppTest:
    """Press a button."""
    page.button(key=key).click().run()
    assert not page.exception
    return page


def run_until(page: AppTest, condition: Callable[[AppTest], bool]) -> AppTest:
    """Rerun the page until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition(page):
        assert time.monotonic() < deadline, page
        time.sleep(0.1)
        page.run()
        assert not page.exception
    return page


def end_all(page: AppTest) -> None:
    """Cancel what runs, so that no job is left behind."""
    for operation_id in running(page):
        resources.backend().cancel(operation_id)
    run_until(page, lambda page: not running(page))


def entries(page: AppTest) -> list[Entry]:
    """Return what the session tracks."""
    tracked: list[Entry] = page.session_state[tracking._ENTRIES]
    return tracked


def running(page: AppTest) -> list[str]:
    """Return the ids of the running operations of the session."""
    return [entry.operation_id for entry in entries(page) if not entry.ended]


def ids_in_url(page: AppTest) -> list[str]:
    """Return the ids that the URL names."""
    ids = page.query_params["operation"]
    return [ids] if isinstance(ids, str) else ids


def texts(page: AppTest) -> list[Any]:
    """Return the plain texts of the page."""
    return [element.value for element in page.text]


def labels(page: AppTest) -> list[str]:
    """Return the labels of the buttons."""
    return [button.label for button in page.button]


def captions(page: AppTest) -> list[str]:
    """Return the captions of the page; one of them says why nothing can be started."""
    return [str(caption.value) for caption in page.caption]


def markup(page: AppTest) -> str:
    """Return the HTML of the page: cards and bars, and the latest steps of an operation."""
    return "".join(element.proto.body for element in page.get("html"))


def figures(page: AppTest) -> dict[str, str]:
    """Return the values of the cards, by their names."""
    found = re.findall(r"<dt[^>]*>(.*?)</dt><dd[^>]*>(.*?)</dd>", markup(page))
    return {unescape(name): unescape(value) for name, value in found}


def is_polling(page: AppTest, fragment: str) -> bool:
    """Return whether the last full rerun called a timed fragment."""
    return fragment in page.session_state["called_fragments"]


def is_cancelled(page: AppTest) -> bool:
    """Return whether the page shows that an operation was cancelled."""
    return bool(page.info) and str(page.info[0].value).startswith("Cancelled")
