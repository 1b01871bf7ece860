"""A machine's console output."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages.logs import LogChunk, StreamLogsRequest

if TYPE_CHECKING:
    from types import TracebackType

    from boxd.resources._base import Session, Stream


class LogStream:
    """Console output, from `Box.stream_logs`: an async iterator of `bytes`. Use it as an async context manager, or
    `close` it, to leave it early. Made for one task."""

    def __init__(self, session: Session, vm_id: str, follow: bool) -> None:
        self._session = session
        self._request = StreamLogsRequest(vm_id=vm_id, follow=follow)
        self._stream: Stream[StreamLogsRequest, LogChunk] | None = None
        self._pieces: deque[bytes] = deque()
        self._ended = False

    def __aiter__(self) -> LogStream:
        return self

    async def __anext__(self) -> bytes:
        while (piece := self._take()) is None:
            if not await self._refill():
                raise StopAsyncIteration
        return piece

    async def close(self) -> None:
        """End the call. Idempotent."""
        self._ended = True
        self._pieces.clear()
        if self._stream is not None:
            self._stream.cancel()

    async def __aenter__(self) -> LogStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<LogStream of {self._request.vm_id!r}{' ended' if self._ended else ''}>"

    def _take(self) -> bytes | None:
        """The next piece if it is at hand. From any thread: a deque allows that."""
        try:
            return self._pieces.popleft()
        except IndexError:
            return None

    async def _refill(self) -> bool:
        """Wait for more pieces; False at the end."""
        while not self._ended:
            if self._stream is None:
                self._stream = self._session.stream(methods.StreamLogs)
                await self._stream.send(self._request, end=True)
            batch = await self._stream.receive_batch()
            if not batch:
                self._ended = True
            elif pieces := [chunk.data for chunk in batch if chunk.data]:
                self._pieces.extend(pieces)
                return True
        return False
