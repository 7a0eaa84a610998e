"""Who may enter, and what identifies an owner."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
import streamlit.config
from streamlit.testing.v1 import AppTest

from progress.session import resources, viewer
from tests.pages import labels, open_page

pytestmark = pytest.mark.usefixtures("fresh_app")

AUTH = """[auth]
redirect_uri = "http://localhost:8501/oauth2callback"
cookie_secret = "a secret"
"""
CLIENT = """client_id = "app"
client_secret = "another secret"
server_metadata_url = "http://localhost:1/.well-known/openid-configuration"
"""
LOGIN = {"is_logged_in": True, "iss": "https://login.example", "sub": "7"}


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ({}, ""),
        ({"email": None}, ""),
        ({"email": "Ada@Example.com"}, "ada@example.com"),
        ({"email": "Ada"}, ""),
        ({"user_name": "ADA"}, "user:ADA"),
        ({"user_name": "ada@example.com"}, "user:ada@example.com"),
        ({"user_name": "ADA", "email": "eve@example.com"}, "user:ADA"),
        ({"is_logged_in": False}, ""),
        (LOGIN, "https://login.example 7"),
        (LOGIN | {"email": "Ada@Example.com", "email_verified": True}, "ada@example.com"),
        (LOGIN | {"email": "ada@example.com", "email_verified": "true"}, "ada@example.com"),
        (LOGIN | {"email": "ada@example.com"}, "https://login.example 7"),
        (LOGIN | {"email": "ada@example.com", "email_verified": False}, "https://login.example 7"),
        (
            LOGIN | {"email": "ada@example.com", "email_verified": "false"},
            "https://login.example 7",
        ),
        (LOGIN | {"email": "user:ADA@x", "email_verified": True}, "https://login.example 7"),
        (LOGIN | {"sub": "ada@example.com"}, "https://login.example ada@example.com"),
        (LOGIN | {"iss": None, "sub": "ada@example.com"}, ""),
        (LOGIN | {"sub": "", "user_name": "ADA"}, ""),
    ],
)
def test_the_identity_of_a_user(user: dict[str, object], identity: str) -> None:
    assert viewer.identity(user) == identity


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], object]]:
    """A function that writes the secrets of the app."""
    file = tmp_path / "secrets.toml"
    options: dict[str, object] = {"secrets.files": [str(file)]}
    monkeypatch.setattr(
        "streamlit.config.get_option", with_options(options, streamlit.config.get_option)
    )
    monkeypatch.setattr("streamlit.get_option", with_options(options, st.get_option))
    reread = st.secrets._reset
    reread()
    yield file.write_bytes
    reread()


def with_options(
    options: dict[str, object], others: Callable[[str], object]
) -> Callable[[str], object]:
    return lambda name: options[name] if name in options else others(name)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, object]], None]:
    """A function that sets what Streamlit knows of the user."""

    def set_user(user: dict[str, object]) -> None:
        monkeypatch.setattr("streamlit.user_info._get_user_info", user.copy)

    return set_user


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets a name for each call of the backend."""
    found: list[str] = []
    monkeypatch.setattr(resources, "backend", lambda: found.append("backend"))
    return found


def require_login(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(resources.SETTINGS, requires_login=True)
    monkeypatch.setattr(resources, "SETTINGS", settings)


def assert_closed(page: AppTest, reads: list[str]) -> None:
    assert not page.selectbox
    assert "Log out" not in labels(page)
    assert not set(labels(page)) - {"Log in"}
    assert not reads


@pytest.mark.parametrize("known", [{}, {"email": "eve@example.com"}, {"user_name": "EVE"}])
def test_a_required_login_that_is_not_configured_closes_the_app(
    known: dict[str, object],
    user: Callable[[dict[str, object]], None],
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_login(monkeypatch)
    user(known)
    page = open_page(operation="1" * 32)
    assert len(page.error) == 1
    assert "requires a login" in page.error[0].value
    assert_closed(page, reads)


@pytest.mark.parametrize("broken", [b"[auth\nclient_id = 'app'", b"[auth]\nclient_id = '\xff'"])
@pytest.mark.parametrize("required", [False, True])
def test_broken_secrets_close_the_app(
    broken: bytes,
    required: bool,
    secrets: Callable[[bytes], object],
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if required:
        require_login(monkeypatch)
    secrets(broken)
    page = open_page()
    assert len(page.error) == 1
    assert "The secrets cannot be read" in page.error[0].value
    assert_closed(page, reads)


@pytest.mark.skipif(os.name == "nt", reason="not everybody may make a link there")
def test_secrets_that_cannot_be_opened_close_the_app(
    secrets: Callable[[bytes], object], reads: list[str]
) -> None:
    file = Path(st.get_option("secrets.files")[0])
    file.symlink_to(file)  # as with a folder without access, `exists` says no, and `open` raises
    page = open_page()
    assert "The secrets cannot be read" in page.error[0].value
    assert_closed(page, reads)


@pytest.mark.parametrize("required", [False, True])
def test_before_the_login_there_is_only_the_login(
    required: bool,
    secrets: Callable[[bytes], object],
    reads: list[str],
    user: Callable[[dict[str, object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if required:
        require_login(monkeypatch)
    secrets((AUTH + CLIENT).encode())
    user({"is_logged_in": False})
    page = open_page(operation="1" * 32)
    assert labels(page) == ["Log in"]
    assert_closed(page, reads)


def test_named_identity_providers_have_a_button_each(
    secrets: Callable[[bytes], object], user: Callable[[dict[str, object]], None]
) -> None:
    secrets(f"{AUTH}[auth.one]\n{CLIENT}[auth.two]\n{CLIENT}".encode())
    user({"is_logged_in": False})
    assert labels(open_page()) == ["Log in with one", "Log in with two"]


def test_a_login_without_an_identity_is_refused(
    user: Callable[[dict[str, object]], None], reads: list[str]
) -> None:
    user({"is_logged_in": True, "email": "ada@example.com", "name": "Ada"})
    page = open_page()
    assert "no verified e\\-mail address" in page.error[0].value
    assert_closed(page, reads)


def test_who_is_logged_in_sees_the_app_and_can_log_out(
    secrets: Callable[[bytes], object],
    user: Callable[[dict[str, object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_login(monkeypatch)
    secrets((AUTH + CLIENT).encode())
    user(LOGIN | {"name": "Ada *Lovelace*"})
    page = open_page()
    assert page.caption[0].value == r"Ada \*Lovelace\*"
    assert "Log out" in labels(page)
    assert page.session_state[viewer._OWNER] == "https://login.example 7"


@pytest.mark.parametrize(
    ("address", "url", "known", "warns"),
    [
        (None, None, {}, True),
        ("0.0.0.0", None, {}, True),
        ("host.example", None, {}, True),
        ("127.0.0.1", None, {}, False),
        ("::1", "http://[::1]:8501/board", {}, False),
        ("localhost", "http://localhost:8501", {}, False),
        ("127.0.0.1", "http://127.0.0.1/", {}, False),
        ("127.0.0.1", "https://host.example/", {}, True),
        ("127.0.0.1", "https://[", {}, True),
        (None, "http://localhost:8501", {}, True),
        (None, None, {"user_name": "ADA"}, False),
    ],
)
def test_an_app_that_is_open_to_all_says_so_once(
    address: str | None,
    url: str | None,
    known: dict[str, object],
    warns: bool,
    user: Callable[[dict[str, object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(viewer, "_warnings", iter([True]))
    monkeypatch.setattr("streamlit.runtime.context.ContextProxy.url", url)
    monkeypatch.setattr(
        "streamlit.get_option", with_options({"server.address": address}, st.get_option)
    )
    user(known)
    first = open_page()
    assert [warning.value.split(":")[0] for warning in first.warning] == ["No login"] * warns
    assert len(first.run().warning) == warns
    assert not open_page().warning, "another session"


def test_a_login_without_its_library_is_refused(
    user: Callable[[dict[str, object]], None], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    user({"is_logged_in": False})
    page = open_page()
    assert "A login needs Authlib" in page.error[0].value
    assert_closed(page, reads)
