"""Who views the page, and what they may see."""

import importlib.util
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import streamlit as st

from progress.operation import Operation
from progress.session import resources

# Keys of the session state. A widget with such a key would let viewers choose who they are.
_OWNER = "progress_owner"
_WARNED = "progress_warned"

_warnings = iter([True])  # whoever takes it tells the viewer


def owner() -> str:
    """Return the identity of the viewer, "" in an app without a login."""
    # Read once: a change of login begins a new session, and `st.user` looks for a secrets file
    # each time, which was a tenth of what a tick cost.
    if _OWNER not in st.session_state:
        st.session_state[_OWNER] = identity(st.user.to_dict())
    known: str = st.session_state[_OWNER]
    return known


def identity(user: Mapping[str, object]) -> str:
    """Return what identifies a user as an owner of operations; "" if nothing does.

    Of a login with OpenID Connect, only a verified e-mail address, or issuer and subject: users can
    often choose the rest. Without one, what the platform or `server.trustedUserHeaders` say: the
    user name, as Streamlit in Snowflake has it, or the e-mail address.

    Args:
        user: `st.user` as a dict.
    """
    email = str(user.get("email") or "")
    email = email.casefold() if re.fullmatch(r"[^\s:@]+@[^\s:@]+", email) else ""
    if "is_logged_in" not in user:
        return f"user:{user['user_name']}" if user.get("user_name") else email
    if email and user.get("email_verified") in (True, "true"):  # text at some providers
        return email
    return f"{user['iss']} {user['sub']}" if user.get("iss") and user.get("sub") else ""


def display_name() -> str:
    """Return how a page calls the user who is logged in."""
    user = st.user.to_dict()
    return str(user.get("name") or user.get("email") or owner())


def zone() -> tzinfo:
    """Return the time zone of the viewer; UTC if the browser tells none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (KeyError, OSError, ValueError):
        return UTC


def refusal() -> str:
    """Return why the app is closed to this viewer, as one line; "" if it is not."""
    if _are_secrets_broken():
        return "The secrets cannot be read. The log of the server says why: correct them."
    user = st.user.to_dict()
    if "is_logged_in" not in user and resources.SETTINGS.requires_login:
        return (
            "settings.toml requires a login, and the secrets configure none:"
            " add [auth] to .streamlit/secrets.toml."
        )
    if user.get("is_logged_in") is False and importlib.util.find_spec("authlib") is None:
        return 'A login needs Authlib: run `uv add "streamlit[auth]"`.'
    if user.get("is_logged_in") and not owner():
        return (
            "This login has no verified e-mail address, and no issuer and subject:"
            " the operations of its user could not be told from those of others."
        )
    return ""


def must_log_in() -> bool:
    """Return whether the viewer has to log in. Also true if only the secrets have a login."""
    return st.user.get("is_logged_in", not resources.SETTINGS.requires_login) is not True


def providers() -> list[str]:
    """Return the names of the identity providers for `st.login`; "" is the unnamed one."""
    auth = st.secrets.get("auth", {})
    named = [str(name) for name, value in auth.items() if isinstance(value, Mapping)]
    return [""] if "client_id" in auth or not named else named


def may_see(operation: Operation) -> bool:
    """Return whether it is the viewer's own, or the app is shared.

    What the viewer may not see reads as unknown: an id in a URL is no permission.
    """
    return resources.SETTINGS.shared or operation.owner == owner()


def warns_of_open_app() -> bool:
    """Return whether to say that everybody may do everything: to the first session of a server."""
    if _WARNED not in st.session_state:
        is_open = st.runtime.exists() and not owner() and not _is_local()
        st.session_state[_WARNED] = is_open and next(_warnings, False)
    warned: bool = st.session_state[_WARNED]
    return warned


def _is_local() -> bool:
    """Return whether only this machine reaches the app. Behind a proxy, only the URL tells."""
    try:
        hosts = (
            st.get_option("server.address") or "::",  # all addresses of the machine
            urlsplit(st.context.url or "http://localhost").hostname or "",
        )
        return all(host == "localhost" or ipaddress.ip_address(host).is_loopback for host in hosts)
    except ValueError:
        return False


def _are_secrets_broken() -> bool:
    try:
        # First, as it raises for a folder without access, where `exists` may say that it is empty.
        return not st.secrets.load_if_toml_exists() and any(
            Path(path).exists() for path in st.get_option("secrets.files")
        )
    except (OSError, UnicodeDecodeError):
        return True
