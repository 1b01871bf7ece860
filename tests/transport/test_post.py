"""The one POST of a key's exchange, against bytes on a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from boxd.transport import ConnectionLost, DialOptions, MessageTooLarge, Target
from boxd.transport.post import Answer, post

pytestmark = pytest.mark.anyio

LIMIT = 1_000
BODY = b'{"a": 1}'


@contextmanager
def answering(response: bytes) -> Iterator[tuple[Target, Callable[[], bytes]]]:
    """A server that reads one request, sends `response` and closes; and what it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    received = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while not received.endswith(BODY) and (data := connection.recv(65536)):
                received.extend(data)
            connection.sendall(response)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                continue

    thread = threading.Thread(target=serve)
    thread.start()

    def asked() -> bytes:
        thread.join(10)
        return bytes(received)

    with listener:
        yield Target("http", "127.0.0.1", listener.getsockname()[1]), asked
        asked()


async def ask(target: Target) -> Answer:
    return await post(target, DialOptions(trust_env=False), "/path?q", {"accept": "x/y"}, BODY, LIMIT)


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(LIMIT), bytes(LIMIT)),
    ],
    ids=["length", "chunked", "until the end", "1.0", "103", "gzip", "the limit"],
)
async def test_the_body(response: bytes, body: bytes) -> None:
    with answering(response) as (target, asked):
        answer = await ask(target)
        assert (answer.status, answer.body) == (200, body)
        head, _, content = asked().partition(b"\r\n\r\n")
        assert content == BODY
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"post /path?q http/1.1"
        assert sorted(lines[1:]) == sorted(
            [b"host: " + target.authority.encode(), b"accept: x/y", b"content-length: 8", b"connection: close"]
        )


async def test_names_in_lower_case_and_the_first_of_several() -> None:
    with answering(b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nRETRY-AFTER: 9\r\nContent-Length: 5\r\n\r\nabcde") as (
        target,
        _,
    ):
        assert await ask(target) == Answer(429, {"retry-after": "7", "content-length": "5"}, b"")


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (b"", "without an answer|broke|is no HTTP/1.1"),
        (b"HTTP/1.1 200", "is no HTTP/1.1|without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "is no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", "is no HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "is no HTTP/1.1"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "without an answer|is no HTTP/1.1"),
    ],
    ids=["nothing", "half a line", "cut off", "bad length", "not HTTP", "huge head", "103 only"],
)
async def test_what_is_no_answer(response: bytes, message: str) -> None:
    with answering(response) as (target, _), pytest.raises(ConnectionLost, match=message):
        await ask(target)


@pytest.mark.parametrize("head", [b"Content-Length: 1001", b"Transfer-Encoding: chunked"])
async def test_more_than_the_limit(head: bytes) -> None:
    body = bytes(1001) if b"Length" in head else b"3e9\r\n" + bytes(1001) + b"\r\n0\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body
    with answering(response) as (target, _), pytest.raises(MessageTooLarge):
        await ask(target)
