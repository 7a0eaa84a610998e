"""A login with a real OpenID Connect provider: who enters, and what two users see of each other."""

import base64
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import BrowserContext, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from streamlit.proto.BackMsg_pb2 import BackMsg

from progress.backend.connection import ProgressConnection
from progress.operation import Query, Status
from tests.browser.app.axe import expect_accessible
from tests.browser.conftest import Server, Viewer, copy_project, free_port, operation_in
from tests.conftest import wait_for_end

USERS: dict[str, dict[str, object]] = {
    "ada": {"name": "Ada *A*", "email": "Ada@Example.com", "email_verified": True},
    "eve": {"name": "Eve", "email": "ada@example.com", "email_verified": False},
    "mallory": {"name": "Mallory", "sub": "ada@example.com"},
}


@dataclass
class Provider:
    """An OpenID Connect provider on loopback that lets the browser choose who it is."""

    port: int
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "test"}))
    granted: dict[str, dict[str, object]] = field(default_factory=dict)
    """The claims of the users who chose a name, by code."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.configuration),
                Route("/authorize", self.authorize),
                Route("/choose", self.choose),
                Route("/token", self.token, methods=["POST"]),
                Route("/keys", self.keys),
            ]
        )

    def configuration(self, request: Request) -> Response:
        paths = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "jwks_uri": "keys",
        }
        rest = {
            "issuer": self.url,
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return JSONResponse({name: f"{self.url}/{path}" for name, path in paths.items()} | rest)

    def authorize(self, request: Request) -> Response:
        links = [f'<a href="/choose?user={user}&{request.url.query}">{user}</a>' for user in USERS]
        return HTMLResponse(" ".join(links))

    def choose(self, request: Request) -> Response:
        given, code = request.query_params, secrets.token_hex()
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": self.url,
            "aud": given["client_id"],
            "iat": now,
            "exp": now + 600,
        }
        claims |= {"sub": f"id of {given['user']}", "nonce": given.get("nonce", "")}
        self.granted[code] = claims | USERS[given["user"]]
        return RedirectResponse(f"{given['redirect_uri']}?code={code}&state={given['state']}")

    async def token(self, request: Request) -> Response:
        claims = self.granted.pop(str((await request.form())["code"]))
        token = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": token})

    def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider(free_port())
    config = uvicorn.Config(provider.app(), port=provider.port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield provider
    server.should_exit = True
    thread.join()


def with_login(project: Path, port: int, provider: Provider) -> Path:
    """Require a login in a copy of the project, and configure it."""
    settings = project / "settings.toml"
    text = settings.read_text("utf-8")
    assert 'login = "none"' in text
    settings.write_text(text.replace('login = "none"', 'login = "required"'), "utf-8")
    (project / ".streamlit" / "secrets.toml").write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "{secrets.token_hex()}"
client_id = "app"
client_secret = "a secret"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"
""",
        "utf-8",
    )
    return project


@pytest.fixture(scope="module")
def closed(
    environment: dict[str, str], provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The app with a required login."""
    port = free_port()
    project = copy_project(tmp_path_factory.mktemp("login"))
    app = Server(environment, port, with_login(project, port, provider))
    app.start()
    yield app
    app.stop()


@dataclass
class User(Viewer):
    """A viewer who is logged in, and what their page received."""

    received: list[bytes] = field(default_factory=list)

    def listen(self) -> None:
        """Keep what is received, and the page's socket as `window.socket`."""

        def receive(frame: str | bytes) -> None:
            self.received.append(frame if isinstance(frame, bytes) else frame.encode())

        self.page.on("websocket", lambda socket: socket.on("framereceived", receive))
        self.page.add_init_script(
            "const Real = WebSocket; WebSocket = class extends Real {"
            " constructor(...given) { super(...given); window.socket = this } }"
        )

    def widget(self, key: str) -> str:
        """Return the id of a widget on the page."""
        found = re.findall(rb"\$\$ID-[0-9a-f]+-" + key.encode() + rb"\b", b"".join(self.received))
        return str(found[-1].decode())

    def forge(self, **values: Any) -> None:
        """Send a websocket message with the states of widgets, by their ids."""
        message = BackMsg()
        for widget, value in values.items():
            state = message.rerun_script.widget_states.widgets.add(id=widget)
            setattr(state, "trigger_value" if value is True else "string_value", value)
        data = base64.b64encode(message.SerializeToString()).decode()
        self.page.evaluate(
            "data => socket.send(Uint8Array.from(atob(data), one => one.charCodeAt(0)))", data
        )


@pytest.fixture(scope="module")
def log_in(window: BrowserContext, closed: Server) -> Iterator[Callable[..., User]]:
    """A function that opens the app as a user, in a window of their own."""
    windows: list[BrowserContext] = []

    def open_and_log_in(name: str, path: str = "/") -> User:
        assert window.browser is not None
        windows.append(window.browser.new_context())
        user = User(windows[-1].new_page())
        user.listen()
        user.page.goto(closed.url + path)
        user.page.get_by_role("button", name="Log in").click()
        user.page.get_by_role("link", name=name, exact=True).click()
        expect(user.page.get_by_role("button", name="Log out")).to_be_visible()
        return user

    yield open_and_log_in
    for opened in windows:
        opened.close()


@pytest.fixture(scope="module")
def ada(log_in: Callable[..., User]) -> User:
    return log_in("ada")


@pytest.fixture(scope="module")
def running(ada: User, connection: ProgressConnection) -> Iterator[str]:
    """An operation of Ada's that runs."""
    ada.start("endless", "slow")
    ada.see("steps so far")
    operation_id = operation_in(ada)
    yield operation_id
    connection.cancel(operation_id)


def test_the_owner_is_the_verified_address(running: str, connection: ProgressConnection) -> None:
    assert connection.read([running])[running].owner == "ada@example.com"


def test_before_the_login_the_page_shows_and_reads_nothing(
    window: BrowserContext, closed: Server, running: str
) -> None:
    assert window.browser is not None
    stranger = Viewer(window.browser.new_context().new_page())
    for path in ("/", "/board", "/feed"):
        stranger.page.goto(f"{closed.url}{path}?operation={running}")
        expect(stranger.page.get_by_role("button", name="Log in")).to_be_visible()
        expect(stranger.page.get_by_role("button")).to_have_count(1)
        assert "endless" not in stranger.page.content()
        expect_accessible(stranger)


@pytest.mark.parametrize("name", ["eve", "mallory"])
def test_another_user_sees_and_changes_nothing(
    name: str, log_in: Callable[..., User], ada: User, running: str, connection: ProgressConnection
) -> None:
    other = log_in(name)
    open_unknown(other, running)
    expect_accessible(other)
    expect(other.page.get_by_role("button", name="Cancel")).to_have_count(0)
    other.forge(**{ada.widget("cancel"): True})
    other.see("There is no operation with this id")
    other.page.get_by_role("link", name="Board").click()
    other.see("No operation is active")
    other.see("There is no operation yet")
    expect_accessible(other)
    other.frames_in(2)
    assert b"Endless: slow" not in b"".join(other.received)
    operation = connection.read([running])[running]
    assert operation.status == Status.IN_PROGRESS
    assert not operation.is_cancelling


def test_who_owns_it_cancels_it(ada: User, running: str, connection: ProgressConnection) -> None:
    ada.forge(**{ada.widget("cancel"): True})  # what others sent, in the session of the owner
    ada.see("Cancelled after")
    assert wait_for_end(connection, running).status == Status.CANCELLED


def latest_of(owner: str, connection: ProgressConnection) -> str:
    """Return the id of the owner's latest operation."""
    (operation,) = connection.recent(Query(owner, limit=1))
    return operation.operation_id


def open_unknown(user: User, operation_id: str) -> None:
    """Open an operation that the user may not see."""
    user.page.goto(f"{user.page.url.partition('?')[0]}?operation={operation_id}")
    user.see("There is no operation with this id")


def test_another_user_gets_nothing_of_what_has_ended(
    log_in: Callable[..., User], ada: User, connection: ProgressConnection
) -> None:
    ada.start("rows")
    ada.see("Partly completed")
    operation_id = latest_of("ada@example.com", connection)
    offered = [f".st-key-{key}-{operation_id} button" for key in ("retry", "csv", "json")]
    for button in offered:
        expect(ada.page.locator(button)).to_be_visible()
    before = connection.counts(Query(None))
    other = log_in("eve")
    open_unknown(other, operation_id)
    for button in offered:
        expect(other.page.locator(button)).to_have_count(0)
    other.forge(**{ada.widget(f"retry-{operation_id}"): True})
    other.choose("job", "rows")
    other.choose("subject", "fast")
    other.page.click(".st-key-history summary")
    other.see("There is no operation yet.")
    assert connection.counts(Query(None)) == before
    assert b"no amount" not in b"".join(other.received)


def test_another_user_is_told_of_no_end(
    log_in: Callable[..., User], ada: User, connection: ProgressConnection
) -> None:
    ada.start("endless", "slow")
    ada.see("steps so far")
    operation_id = latest_of("ada@example.com", connection)
    other = log_in("mallory")
    open_unknown(other, operation_id)
    for user in (ada, other):
        user.page.get_by_role("link", name="Board").click()
        expect(user.page.get_by_role("heading", name="Board")).to_be_visible()
    connection.cancel(operation_id)
    expect(ada.page.get_by_test_id("stToast")).to_be_visible()
    other.frames_in(2)
    assert not other.page.get_by_test_id("stToast").count()
    ada.page.get_by_role("link", name="Run").click()
    ada.see("Cancelled after")


@pytest.mark.parametrize("key", ["job", "subject"])
def test_a_forged_choice_starts_nothing(
    key: str, ada: User, connection: ProgressConnection
) -> None:
    before = connection.counts(Query(None))
    ada.wait_until_startable()
    ada.forge(**{ada.widget(key): "x" * 2_000_000, ada.widget("start"): True})
    ada.see("This is no longer offered")
    assert connection.counts(Query(None)) == before


def test_log_out(ada: User) -> None:
    # The page shows the button before the browser has visited /auth/logout and come back.
    with ada.page.expect_navigation():
        ada.page.get_by_role("button", name="Log out").click()
    expect(ada.page.get_by_role("button", name="Log in")).to_be_visible()
    ada.page.reload()
    expect(ada.page.get_by_role("button", name="Log in")).to_be_visible()
