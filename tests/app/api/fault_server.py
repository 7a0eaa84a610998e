"""A server whose answers a test decides, and which keeps the requests."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behavior = Callable[["Request"], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


class Request(BaseHTTPRequestHandler):
    """One request, with ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "FaultServer"

    def handle_any(self) -> None:
        """Keep the request and answer it."""
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        with self.server.lock:
            self.server.seen.append(
                Seen(self.command, self.path, dict(self.headers.items()), self.content)
            )
            self.server.active += 1
            self.server.most_active = max(self.server.most_active, self.server.active)
        try:
            self.server.behavior(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.active -= 1

    do_GET = do_POST = do_PUT = do_PATCH = handle_any

    def answer(
        self,
        body: Any = None,
        status: int = 200,
        kind: str = "application/json",
        **headers: str,
    ) -> None:
        """Send JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(0 if status == 304 else len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if status != 304:
            self.wfile.write(content)

    def reset(self) -> None:
        """Reset the connection without an answer."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        """Close the connection, which may be broken."""
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the output of the tests short."""


class FaultServer(ThreadingHTTPServer):
    """Listens on this machine. `behavior` may change at any time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behavior: Behavior) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behavior = behavior
        self.lock = threading.Lock()
        self.seen: list[Seen] = []
        self.active = 0
        self.most_active = 0
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that the client or the test cut are expected."""


@contextmanager
def fault_server(behavior: Behavior) -> Iterator[FaultServer]:
    """Run a server in a thread."""
    server = FaultServer(behavior)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
