"""StreamLogs: a box's console."""

from __future__ import annotations

from boxd import messages as pb

from ..console import Console
from .base import Context, Handlers


class Logs(Handlers):
    """The console of a machine."""

    def stream_logs(self, request: pb.StreamLogsRequest, context: Context) -> LogStream:
        return LogStream(self._boxes.existing(request.vm_id).console, request.follow)


class LogStream:
    """The kept output of a console in chunks; with `follow`, then each new piece until the box is destroyed."""

    def __init__(self, console: Console, follow: bool) -> None:
        self._console = console
        self._follow = follow
        self._position = 0

    def __aiter__(self) -> LogStream:
        return self

    async def __anext__(self) -> pb.LogChunk:
        while True:
            data, self._position = self._console.read(self._position)
            if data:
                return pb.LogChunk(data=data)
            if not self._follow or self._console.closed:
                raise StopAsyncIteration
            await self._console.changed()

    async def aclose(self) -> None:
        """Nothing to let go: the stream has only a position."""
