"""A jobs.py that is broken or returns odd values: one message in its place, the page goes on."""

import importlib
import logging
import sys
import time
from asyncio import CancelledError
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from progress import edits
from progress.job import Job, Upload, as_job
from progress.session import choices
from progress.settings import ROOT
from tests import jobs
from tests.pages import (
    click,
    end_all,
    is_cancelled,
    is_polling,
    labels,
    open_page,
    run_until,
    start,
    switch_page,
    texts,
)

pytestmark = pytest.mark.usefixtures("fresh_app")

Module = Callable[[str], None]


@pytest.fixture
def module(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A function that writes the source of jobs.py, as after an edit."""

    def write(source: str) -> None:
        name = f"jobs_{uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(source, "utf-8")
        monkeypatch.setenv("JOBS_MODULE", name)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    return write


BROKEN = {
    "def subjects(:": "SyntaxError",
    "import no_such_library": "ModuleNotFoundError",
    "raise SystemExit(3)": "SystemExit",
    "1 / 0": "ZeroDivisionError",
    "class Panic(BaseException): ...\nraise Panic": "Panic",
}


@pytest.mark.parametrize("source", BROKEN)
def test_running_operations_stay_while_jobs_py_is_broken(source: str, module: Module) -> None:
    page = start(open_page(), "endless", "slow")
    module(source)
    page.run()
    assert not page.exception
    assert page.error[0].value == "jobs.py cannot be imported."
    assert f"{BROKEN[source]}: the log of the server has the details." in texts(page)
    assert page.button(key="start").disabled
    assert is_polling(page, "progress")
    run_until(click(page, "cancel"), is_cancelled)
    assert "Dismiss" in labels(page)
    assert not switch_page(page, "board").error


def test_the_whole_text_is_shown_where_details_are(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit.get_option", lambda name: "full")
    module("x = 1\nimport no_such_library\n")
    details = texts(open_page())[0]
    assert "line 2, in <module>\n    import no_such_library\n" in details
    assert details.endswith("ModuleNotFoundError: No module named 'no_such_library'")


@pytest.mark.parametrize(
    ("source", "details"),
    [
        ("", "JOBS is None (NoneType): it must be"),
        ("JOBS = {}", "JOBS is {} (dict): it must be"),
        ("JOBS = [print]", "JOBS is [<built-in function print>] (list): it must be"),
    ],
)
def test_a_module_without_jobs_is_a_message(source: str, details: str, module: Module) -> None:
    module(source)
    page = open_page()
    assert page.error[0].value == "jobs.py has no jobs."
    assert texts(page)[0].startswith(details)
    assert page.button(key="start").disabled


def test_a_page_recovers_when_jobs_py_is_mended(module: Module) -> None:
    module("")
    page = open_page()
    module("JOBS = {'job': lambda report, subject: None}\ndef subjects(): return ['a']")
    assert not page.run().error
    assert not page.button(key="start").disabled


def test_jobs_that_cannot_be_listed_are_a_message(module: Module) -> None:
    module(
        "class Odd(dict):\n    def items(self): raise ConnectionError\n"
        "JOBS = Odd(a=1)\ndef subjects(): return ['a']"
    )
    assert open_page().error[0].value == "The jobs cannot be listed."


def test_a_module_that_streamlit_removes_while_it_is_imported_is_imported_again(
    module: Module,
) -> None:
    module(
        "import sys\nif not hasattr(sys, 'edited'):\n    sys.edited = sys.modules.pop(__name__)\n"
        "JOBS = {'job': lambda report, subject: None}\ndef subjects(): return ['a']"
    )
    page = open_page()
    del vars(sys)["edited"]
    assert not page.error
    assert page.selectbox(key="subject").options == ["a"]


SLOW = """
import time
from pathlib import Path

def wait(name):
    while not (Path(__file__).parent / name).exists():
        time.sleep(0.05)

def subjects():
    wait("listed")
    return ["a"]

wait("imported")
JOBS = {"slow_job": lambda report, subject: None}
"""


def test_what_runs_is_shown_while_jobs_py_is_imported_and_its_subjects_are_listed(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = start(open_page(), "endless", "slow")
    monkeypatch.setattr(choices, "LOAD_TIMEOUT", 0.2)
    module(SLOW)
    newer = open_page()
    for name in ("imported", "listed"):
        page.run()
        assert page.status[0].label == "Loading jobs.py and the subjects"
        assert is_polling(page, "progress")
        assert page.selectbox(key="job").value == "endless", "the choices of before"
        newer.run()
        assert newer.status
        assert not newer.selectbox
        assert [caption.value for caption in newer.caption][1] == "jobs.py is loading."
        assert is_polling(newer, "progress"), "it notices the end of the import"
        board = switch_page(open_page(), "board")
        assert not board.error
        job_filter = board.selectbox(key="filter_job")
        assert (job_filter.placeholder, job_filter.disabled) == ("Loading jobs", True)
        assert is_polling(board, "board"), "it notices the end of the import, too"
        (tmp_path / name).touch()
    run_until(click(page, "cancel"), is_cancelled)
    run_until(board, lambda page: not page.selectbox(key="filter_job").disabled)
    assert board.selectbox(key="filter_job").options == ["Slow job"]
    run_until(board, lambda page: not is_polling(page, "board"))
    for loaded in (page, newer):
        # Before Streamlit 1.65 the expanders with an icon are in `status`, too.
        run_until(loaded, lambda page: "Loading" not in str([each.label for each in page.status]))
        assert loaded.selectbox(key="subject").options == ["a"]
        # The run that finds one job only still has the job of before.
        run_until(loaded, lambda page: not page.button(key="start").disabled)
        assert not is_polling(loaded, "progress")


# tests/app/common/test_job.py has all of them.
DEFECTS: list[tuple[object, object, str]] = [
    ("less", lambda report: None, "'less' (str) takes (report): it must take (report, subject)."),
    ("more", lambda a, b, c: None, "'more' (str) takes (a, b, c): it must take (report, subject)."),
    ("text", "print", "'text' (str) is 'print' (str): it must be a function or a Job."),
    (3, print, "3 (int) is no name: a job needs one that is text."),
    ("", print, "'' (str) is no name"),
    ("caf\udce9", print, "'caf\\udce9' (str) is no name"),
]


@pytest.mark.parametrize(("name", "job", "line"), DEFECTS)
def test_a_job_that_cannot_run_is_named_before_the_click(
    name: object, job: object, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "JOBS", {name: job, "good": jobs.succeed})
    page = open_page()
    assert page.error[0].value == "Jobs in jobs.py cannot be started:"
    assert texts(page)[0].startswith(line)
    assert not page.button(key="start").disabled, "the other job can be started"


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        (jobs.succeed, ("of the module",)),
        (jobs.JOBS["count"], ("lines", "words")),
        (Job(jobs.succeed, subjects=lambda: [1, 2]), ("1", "2")),
        (Job(jobs.succeed, subjects=Upload()), ()),
        (jobs.JOBS["work"], ()),
    ],
)
def test_a_job_has_its_own_subjects_or_those_of_the_module(
    declared: Job, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, lambda: ["of the module"])
    monkeypatch.setattr(jobs, "JOBS", {"other": jobs.succeed, "job": declared})
    loaded = choices.read_choices("job")
    assert loaded.jobs == choices.Choices(("other", "job"))
    assert (loaded.job, loaded.subjects) == ("job", choices.Choices(names))
    assert loaded.declared["job"] == as_job(declared)


def offer(monkeypatch: pytest.MonkeyPatch, subjects: Callable[[], Any]) -> None:
    choices.refresh_subjects()
    monkeypatch.setattr(jobs, "subjects", subjects)


@pytest.mark.parametrize("error", [ConnectionError, CancelledError])
def test_running_operations_stay_while_subjects_raises(
    error: type[BaseException],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    page = start(open_page(), "endless", "slow")

    def fail() -> list[str]:
        raise error("password=secret")

    offer(monkeypatch, fail)
    caplog.set_level(logging.ERROR)
    page.run()
    assert not page.exception
    assert page.error[0].value == "The subjects cannot be listed."
    assert f"{error.__name__}: the log of the server has the details." in texts(page)
    assert "password=secret" in caplog.text
    assert page.button(key="start").disabled
    assert is_polling(page, "progress")
    monkeypatch.setattr(jobs, "subjects", lambda: ["fast"])
    assert not click(page, "refresh_subjects").error
    end_all(page)


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (["ok.txt", "caf\udce9.txt"], ["ok.txt", "caf?.txt"]),
        ([1, 20], ["1", "20"]),
        ([Path("a/b.csv")], ["a/b.csv"]),
        ([date(2026, 11, 26)], ["2026-11-26"]),
        ({"a": 1, "b": 2}, ["a", "b"]),
        ((name for name in "aba"), ["a", "b"]),
        (["<b>*x*</b>", ""], ["<b>*x*</b>", ""]),
    ],
)
def test_subjects_become_text(
    returned: Any,
    names: list[str],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, lambda: returned)
    page = open_page()
    assert not page.error
    assert page.selectbox(key="subject").options == names
    assert not page.button(key="start").disabled


def test_without_subjects_nothing_can_be_started(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, lambda: [])
    page = open_page()
    assert not page.error
    assert [caption.value for caption in page.caption][1:] == ["There is no subject to work on."]
    assert page.button(key="start").disabled
    monkeypatch.setattr(jobs, "subjects", lambda: ["fast"])
    assert not click(page, "refresh_subjects").button(key="start").disabled


@pytest.mark.parametrize("returned", [None, "abc", b"abc", 3, [None], [("a",)], [b"a"], [["a"]]])
def test_what_is_no_list_of_text_is_a_message(
    returned: Any, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, lambda: returned)
    page = open_page()
    assert page.error[0].value == "The subjects cannot be listed."
    assert page.button(key="start").disabled


def test_slow_subjects_are_listed_once_for_all_sessions(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def slow() -> list[str]:
        calls.append(time.monotonic())
        time.sleep(0.2)
        return ["fast", f"list {len(calls)}"]

    offer(monkeypatch, slow)
    page = open_page().run()
    assert open_page().selectbox(key="subject").options == ["fast", "list 1"]
    assert len(calls) == 1
    click(page, "refresh_subjects")
    assert open_page().selectbox(key="subject").options == ["fast", "list 2"]
    assert len(calls) == 2


def test_an_edit_of_jobs_py_lists_the_subjects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[ModuleType] = []
    monkeypatch.setattr(choices, "jobs_module", lambda: found[-1])
    for number in range(20):
        found.clear()  # as Streamlit does: the next module may get the same id
        found.append(ModuleType("jobs"))
        vars(found[0])["subjects"] = partial(list, [f"edition {number}"])
        vars(found[0])["JOBS"] = {"job": jobs.succeed}
        assert choices.read_choices().subjects.names == (f"edition {number}",)


def test_a_module_of_a_folder_whose_name_begins_alike_is_no_own_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("sibling")
    module.__file__ = f"{ROOT}-venv/sibling.py"
    monkeypatch.setitem(sys.modules, "sibling", module)
    edits.forget_edited_modules()
    assert "sibling" in sys.modules


def test_a_page_with_50_000_subjects_is_drawn(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, lambda: [f"order-{number:08}" for number in range(50_000)])
    page = open_page()
    page.run()
    assert len(page.selectbox(key="subject").options) == 50_000
