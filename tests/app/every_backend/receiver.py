"""A receiver of Apprise's JSON messages, for the tests of the backends that send some."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

Messages = list[dict[str, Any]]


@contextmanager
def receiving() -> Iterator[tuple[str, Messages]]:
    """Yield its address, and what arrived."""
    messages: Messages = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://user:hunter2@127.0.0.1:{server.server_port}/", messages
        server.shutdown()
