"""A wrong configuration is one line on each page, without its secrets, and the page stays."""

from collections.abc import Iterator

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from progress.backend.connection import ProgressConnection
from progress.contract import BackendRejected
from progress.operation import new_operation_id
from progress.session import resources
from tests.pages import click, figures, open_page, switch_page, texts

SECRET = "hush"
# Each wrong value with a part of its line. Those of the backend of this project, by its variable.
VARIABLES = {
    "PROGRESS_DATABASE": {
        "/dev/null/progress.db": "progress.db: File exists",
        "/": "unable to open",
    },
    "DATABASE_URL": {
        "": "Set dsn under [connections.progress]",
        f"postgresql//me:{SECRET}@127.0.0.1/x": "Write it like postgresql://",
        f"host={SECRET} x": "Write it like postgresql://",
    },
    "PROGRESS_API_URL": {
        "": "Set url under [connections.progress]",
        "jobs.example.com": "must be like https://",
        f"https://me:{SECRET}@jobs.example.com": "set username and password",
    },
    "PROGRESS_CONNECTION": {
        SECRET: "PROGRESS_CONNECTION is not a JSON object",
        f'["{SECRET}"]': "PROGRESS_CONNECTION is not a JSON object",
        f'{{"password": "{SECRET}"}}': "Check [connections.snowflake]",
    },
}


@pytest.fixture(autouse=True)
def new_resources() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def assert_line(page: AppTest, expected: str) -> None:
    assert not page.exception
    (line,) = [text for text in texts(page) if expected in text]
    assert "\n" not in line
    assert SECRET not in line


def assert_each_page_has_a_line(expected: str) -> None:
    page = open_page(operation=new_operation_id())
    assert page.warning[0].value.startswith("The progress cannot be read now.")
    assert_line(page, expected)
    page = open_page()
    assert_line(click(page, "start"), expected)
    assert page.title
    assert page.selectbox(key="subject").options
    board = switch_page(page, "board")
    assert len(figures(board)) == 6
    assert {expected in text for text in texts(board)} == {True}, "of the board and its history"
    assert not switch_page(page, "feed").exception


def test_an_invalid_variable_is_a_line_on_each_page(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = VARIABLES.keys() & environment.keys()
    for value, expected in VARIABLES[name].items():
        monkeypatch.setenv(name, value)
        st.cache_resource.clear()
        assert_each_page_has_a_line(expected)


@pytest.mark.usefixtures("environment")
def test_an_unexpected_error_is_a_line_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ProgressConnection, **kwargs: object) -> None:
        raise TypeError(SECRET)

    monkeypatch.setattr(ProgressConnection, "_connect", fail)
    assert_each_page_has_a_line("(TypeError): check [connections] in .streamlit/secrets.toml.")
    with pytest.raises(BackendRejected, match="TypeError"):
        resources.backend()
