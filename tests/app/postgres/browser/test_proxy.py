"""Two replicas of the app at a sub-path behind nginx, with the nginx.conf of compose.yaml."""

import os
import re
import socket
import subprocess
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from progress.backend.connection import ProgressConnection
from progress.settings import ROOT
from tests.app.conftest import find_program
from tests.browser.conftest import Server, Viewer, free_port, operation_in
from tests.browser.test_live import steps_shown

BASE = "/team/app"
# nginx.conf is a part of the configuration that the image has; the rest of it for a test.
MAIN = """
daemon off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    log_format upstream "$http_user_agent $upstream_addr";
    access_log access.log upstream;
    {temporary}
    {own}
    server {{
        listen 127.0.0.1:{other};
        {location}
    }}
}}
"""
# For one replica, as docs/deployment.md of the template shows it.
LOCATION = """\
location /team/app/ {
    proxy_pass http://127.0.0.1:8501;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
    proxy_read_timeout 1h;
}
"""


class Replica(Server):
    """A server of the app at the sub-path."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE}"


class Proxy(Replica):
    """nginx in front of two replicas."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        options = {"STREAMLIT_SERVER_BASE_URL_PATH": BASE}
        self.replicas = [Replica(environment | options, free_port()) for _ in range(2)]
        self.other = free_port()
        super().__init__(environment, free_port(), folder)

    def start(self) -> None:
        for replica in self.replicas:
            replica.start()
        own = (ROOT / "nginx.conf").read_text("utf-8")
        # What Docker's name server returns for `web`, if it has two replicas.
        servers = "".join(f"server 127.0.0.1:{replica.port};" for replica in self.replicas)
        for text, instead in (
            ("server web:8501;", servers),
            ("listen 8501;", f"listen 127.0.0.1:{self.port};"),
        ):
            assert own.count(text) == 1
            own = own.replace(text, instead)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {kind};" for kind in kinds)
        location = LOCATION.replace(":8501", f":{self.replicas[0].port}")
        main = MAIN.format(own=own, temporary=temporary, other=self.other, location=location)
        if os.getuid() == 0:
            main = "user root;" + main
        (self.folder / "nginx.conf").write_text(main, "utf-8")
        # Paths are relative to the prefix, so that none of them has to be quoted.
        command = [find_program("nginx"), "-p", str(self.folder), "-c", "nginx.conf"]
        self.process = subprocess.Popen([*command, "-e", "error.log"])
        deadline = time.monotonic() + 60
        while True:
            try:
                self.get()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "error.log").read_text("utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self) -> None:
        super().stop()
        for replica in self.replicas:
            replica.stop()

    def get(self, name: str = "", cookie: str = "") -> str:
        """Request the health of a replica; return the cookie that was set. It is logged by name."""
        headers = {"User-Agent": name} | ({"Cookie": f"replica={cookie}"} if cookie else {})
        request = urllib.request.Request(f"{self.url}/_stcore/health", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            cookies = "\n".join(answer.headers.get_all("Set-Cookie"))
        found = re.search(r"^replica=([^;]+)", cookies, re.MULTILINE)
        assert found is not None
        return found[1]

    def replicas_of(self) -> dict[str, set[str]]:
        """Return which replicas answered the requests of each name."""
        found = defaultdict(set)
        for line in (self.folder / "access.log").read_text("utf-8").splitlines():
            name, _, replica = line.rpartition(" ")
            found[name].add(replica)
        return found


@pytest.fixture(scope="module")
def proxy(environment: dict[str, str], data_folder: Path) -> Iterator[Proxy]:
    folder = data_folder / "proxy"
    folder.mkdir()
    running = Proxy(environment, folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_a_cookie_keeps_a_browser_at_one_replica(proxy: Proxy) -> None:
    for number in range(20):
        name = f"browser-{number}"
        cookie = proxy.get(name)
        assert {proxy.get(name, cookie) for _ in range(3)} == {cookie}
    found = [replicas for name, replicas in proxy.replicas_of().items() if "browser" in name]
    assert len(found) == 20
    assert {len(replicas) for replicas in found} == {1}
    assert len(set().union(*found)) == 2, "both have some of the browsers"


@pytest.mark.parametrize(("origin", "status"), [("app", 101), ("evil", 403)])
@pytest.mark.parametrize("port", ["port", "other"])
def test_only_pages_of_the_same_host_open_a_websocket(
    proxy: Proxy, port: str, origin: str, status: int
) -> None:
    lines = [
        f"GET {BASE}/_stcore/stream HTTP/1.1",
        *("Host: app.example.com", f"Origin: https://{origin}.example.com"),
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: streamlit"),
    ]
    with socket.create_connection(("127.0.0.1", getattr(proxy, port)), timeout=10) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_page_at_a_sub_path_behind_a_proxy_does_all_that_it_does_without(
    visit: Callable[..., Viewer], proxy: Proxy, connection: ProgressConnection
) -> None:
    viewer = visit(at=proxy)
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    operation_id = operation_in(viewer)
    assert viewer.page.url.startswith(f"{proxy.url}/?operation=")
    viewer.page.reload()
    viewer.see("steps so far")

    viewer.page.get_by_role("link", name="Board").click()
    viewer.see("Select a row to open the operation")
    assert viewer.page.url == f"{proxy.url}/board"
    viewer.page.reload()
    viewer.see("Select a row to open the operation")
    connection.cancel(operation_id)

    second = visit(f"/?operation={operation_id}", at=proxy)
    second.see("Cancelled after")
    second.wait_until_startable()
    second.page.click(f".st-key-dismiss-{operation_id} button")
    expect(second.page.get_by_text("Cancelled after")).to_have_count(0)
    expect(second.page).to_have_url(f"{proxy.url}/")
    second.start("endless", "slow")
    second.see("steps so far")
    operation_id = operation_in(second)
    second.page.get_by_role("link", name="Board").click()
    second.see("Select a row to open the operation")
    connection.cancel(operation_id)
    expect(second.page.get_by_test_id("stToast")).to_be_visible()
    second.page.get_by_role("link", name="Run").click()
    second.see("Cancelled after")


def test_a_page_goes_on_at_the_other_replica_when_its_own_ends(
    visit: Callable[..., Viewer],
    window: BrowserContext,
    proxy: Proxy,
    connection: ProgressConnection,
) -> None:
    viewer = visit(at=proxy)
    viewer.start("endless", "slow")
    viewer.see("steps so far")
    (cookie,) = (cookie for cookie in window.cookies() if cookie.get("name") == "replica")
    proxy.get("own", cookie["value"])
    viewer.wait_for(lambda: "own" in proxy.replicas_of())  # nginx logs after the answer
    (own,) = proxy.replicas_of()["own"]
    for replica in proxy.replicas:
        if own.endswith(f":{replica.port}"):
            replica.stop()
    # Two steps that it has not drawn yet: a click while it connects would be lost.
    operation_id = operation_in(viewer)
    known = connection.read([operation_id])[operation_id].current_step
    viewer.wait_for(lambda: steps_shown(viewer) > known + 2)
    viewer.page.click(".st-key-cancel button")
    viewer.see("Cancelled after")
