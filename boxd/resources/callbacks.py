"""A command's output, given to functions of the caller's as it comes."""

from __future__ import annotations

import codecs
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import anyio.to_thread

if TYPE_CHECKING:
    from boxd.messages.exec import ExecChunk

_decoder = codecs.getincrementaldecoder("utf-8")


class Callbacks:
    """Calls `on_stdout` and `on_stderr`, one at a time, in the order in which the output came.

    A coroutine function is awaited. A plain function is called in a worker thread, so that it may take its time. Their
    errors are raised by `give` and `end`.
    """

    def __init__(
        self, on_stdout: Callable[[Any], object] | None, on_stderr: Callable[[Any], object] | None, text: bool
    ) -> None:
        self._outputs = {False: _Output(on_stdout, text), True: _Output(on_stderr, text)}

    async def give(self, batch: Sequence[ExecChunk]) -> None:
        """Pass on the next chunks: those of one output that follow each other in one piece."""
        for is_stderr, chunks in groupby((chunk for chunk in batch if chunk.data), lambda chunk: chunk.is_stderr):
            await self._outputs[is_stderr].give(b"".join([chunk.data for chunk in chunks]), False)

    async def end(self) -> None:
        """No more output: what is left of a character that was cut short is passed on."""
        for output in self._outputs.values():
            await output.give(b"", True)


class _Output:
    """One output's callback."""

    def __init__(self, callback: Callable[[Any], object] | None, text: bool) -> None:
        self._callback = callback
        self._decode: Callable[..., Any] = _decoder("replace").decode if text else _as_is
        self._awaited = _is_async(callback)

    async def give(self, data: bytes, final: bool) -> None:
        if self._callback is None:
            return
        piece = self._decode(data, final)
        if not piece:
            return
        if self._awaited:
            result = self._callback(piece)
        else:
            # In a tuple: trio takes a thread that returns a coroutine for a mistake.
            (result,) = await anyio.to_thread.run_sync(_called, self._callback, piece)
        if inspect.isawaitable(result):
            await result


def _called(callback: Callable[[Any], object], piece: object) -> tuple[object]:
    return (callback(piece),)


def _as_is(data: bytes, final: bool) -> bytes:
    return data


def _is_async(callback: Callable[..., object] | None) -> bool:
    function: Any = callback.func if isinstance(callback, partial) else callback
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
