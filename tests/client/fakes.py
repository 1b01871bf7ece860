"""A scripted stand-in for the transport: answers of unary calls, and streams whose messages come on command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from boxd.config import Settings
from boxd.resources._base import Session
from boxd.transport import Cancelled, RpcError, StatusCode


class FakeCall:
    """A streaming call. `script` is what `receive_batch` does, step by step: give a batch, wait for an event, fail.
    After the script the call has ended with OK."""

    def __init__(self, script: Sequence[Any] = (), *, on_send: Callable[[Any], None] | None = None) -> None:
        self.script = list(script)
        self.sent: list[Any] = []
        self.half_closed = False
        self.cancelled = False
        self.receiving = False
        self.running = False
        self._on_send = on_send
        self._stopped = anyio.Event()

    async def send(self, message: Any, *, end: bool = False) -> None:
        await anyio.lowlevel.checkpoint()
        if self._on_send is not None:
            self._on_send(message)
        self.sent.append(message)
        self.half_closed = self.half_closed or end

    async def end(self) -> None:
        self.half_closed = True

    async def receive_batch(self) -> list[Any]:
        assert not self.receiving, "two tasks receive at once"
        self.receiving = True
        try:
            await anyio.lowlevel.checkpoint()
            while self.script and not self.cancelled:
                step = self.script[0]
                if isinstance(step, anyio.Event):
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._until_stopped, group.cancel_scope)
                        await step.wait()
                        group.cancel_scope.cancel()
                    if self.cancelled:
                        break
                    self.script.pop(0)
                    continue
                self.script.pop(0)
                if isinstance(step, BaseException):
                    raise step
                return step if isinstance(step, list) else [step]
            if self.cancelled:
                raise Cancelled("the call was cancelled")
            return []
        finally:
            self.receiving = False

    async def _until_stopped(self, scope: anyio.CancelScope) -> None:
        await self._stopped.wait()
        scope.cancel()

    async def receive(self) -> Any:
        batch = await self.receive_batch()
        assert len(batch) <= 1
        return batch[0] if batch else None

    def cancel(self) -> None:
        self.cancelled = True
        self._stopped.set()


class FakeChannel:
    """`unary` maps the name of a method to its answer: a message, an error, a function of the request, or a list of
    these, one for each call; `calls` has one `FakeCall` for each streaming call, in order."""

    def __init__(self, unary: dict[str, Any] | None = None, calls: Sequence[FakeCall | RpcError] = ()) -> None:
        self.answers = {} if unary is None else unary
        self.calls = list(calls)
        self.requests: list[tuple[str, Any]] = []
        self.timeouts: list[float | None] = []
        #: The names of the calls that move much data.
        self.bulk: list[str] = []
        self.closed = 0

    async def unary(self, method: Any, request: Any, *, timeout: float | None = None, bulk: bool = False) -> Any:
        await anyio.lowlevel.checkpoint()
        self.requests.append((method.name, request))
        self.bulk += [method.name] if bulk else []
        # Whether a machine still runs is asked for after a command's failure, whatever the test is about.
        nothing = RpcError("nobody tells", StatusCode.UNIMPLEMENTED)
        answer = self.answers.get(method.name, nothing) if method.name == "GetVm" else self.answers[method.name]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def call(self, method: Any, *, timeout: float | None = None, bulk: bool = False) -> Any:
        self.requests.append((method.name, None))
        self.bulk += [method.name] if bulk else []
        self.timeouts.append(timeout)
        return self.calls.pop(0)

    async def aclose(self) -> None:
        self.closed += 1


class FakeCredentials:
    """Credentials that note what is asked of them."""

    def __init__(self, *headers: str) -> None:
        self.headers = list(headers) or ["Bearer test"]
        self.rejected: list[str] = []
        self.closed = False

    def current(self) -> str | None:
        return self.headers[0] if self.headers else None

    async def refresh(self) -> str:
        return self.headers[0]

    def reject(self, header: str) -> bool:
        self.rejected.append(header)
        return len(self.headers) > 1

    async def aclose(self) -> None:
        self.closed = True


def session_with(channel: FakeChannel, credentials: FakeCredentials | None = None, org: str = "") -> Session:
    """A session whose calls go to `channel`."""
    settings = Settings.resolve(token="test", api_url="http://localhost:1", org=org, environ={})
    session = Session(settings, FakeCredentials() if credentials is None else credentials)
    session._channel = channel  # type: ignore[assignment]
    return session
