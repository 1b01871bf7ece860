"""A token exchange on a real socket, which answers as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


def token_reply(token: str = "jwt-1", lifetime: float = 3600) -> Reply:
    """A good answer."""
    return 200, {}, json.dumps({"token": token, "expires_at": int(time.time() + lifetime)}).encode()


class Exchange:
    """What the server was asked, and what it answers: `replies` in turn, the last one for ever."""

    def __init__(self, replies: list[Reply | Callable[[], Reply]]) -> None:
        self.replies = replies
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        with self._lock:
            self.requests.append((path, headers, json.loads(body)))
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply() if callable(reply) else reply


@contextmanager
def serving(*replies: Reply | Callable[[], Reply]) -> Iterator[Exchange]:
    """A running exchange server."""
    exchange = Exchange(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, extra, content = exchange.answer(self.path, headers, body)
            try:
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                return  # The client has gone, as some tests want it to.

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    exchange.url = f"http://127.0.0.1:{server.server_address[1]}/api/v1/auth/token"
    try:
        yield exchange
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
