"""The call that runs commands in a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, Literal, overload

from boxd.resources import exec as execution
from boxd.resources.command_line import command_line
from boxd.resources.lifecycle import Lifecycle
from boxd.types.exec import ExecResult

if TYPE_CHECKING:
    from boxd.resources.process import ExecProcess


class Commands(Lifecycle):
    """A machine that commands can be run in."""

    @overload
    async def exec(
        self,
        *args: str,
        stream: Literal[False] = False,
        interactive: Literal[False] = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: Literal[True] = True,
        cwd: str | None = None,
        input: bytes | str | os.PathLike[str] | IO[bytes] | None = None,
        check: bool = False,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> ExecResult: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: Literal[False] = False,
        interactive: Literal[False] = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: Literal[False],
        cwd: str | None = None,
        input: bytes | str | os.PathLike[str] | IO[bytes] | None = None,
        check: bool = False,
        on_stdout: Callable[[bytes], object] | None = None,
        on_stderr: Callable[[bytes], object] | None = None,
    ) -> ExecResult[bytes]: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: Literal[True],
        interactive: bool = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
        cwd: str | None = None,
    ) -> ExecProcess: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: bool = False,
        interactive: Literal[True],
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
        cwd: str | None = None,
    ) -> ExecProcess: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: bool = False,
        interactive: bool = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
        cwd: str | None = None,
        input: bytes | str | os.PathLike[str] | IO[bytes] | None = None,
        check: bool = False,
        on_stdout: Callable[[Any], object] | None = None,
        on_stderr: Callable[[Any], object] | None = None,
    ) -> ExecResult | ExecResult[bytes] | ExecProcess: ...
    async def exec(
        self,
        *args: str,
        stream: bool = False,
        interactive: bool = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
        cwd: str | None = None,
        input: bytes | str | os.PathLike[str] | IO[bytes] | None = None,
        check: bool = False,
        on_stdout: Callable[[Any], object] | None = None,
        on_stderr: Callable[[Any], object] | None = None,
    ) -> ExecResult | ExecResult[bytes] | ExecProcess:
        """Run a command in the machine. RPC: Exec.

        `args` are the program and its arguments, passed on exactly: no shell looks into them. For pipes and
        variables ask for a shell: `box.exec("sh", "-c", "ls | wc -l")`. `env` adds environment variables, for the
        program and all that it runs. `cwd` is the directory to run it in, absolute or relative to `/home/boxd`; where
        that cannot be entered, the exit status is 126. `pty=True` runs it under a PTY of `cols` by `rows` characters
        (0: 80 by 24), where all output comes on stdout.

        Waits for the end and returns an `ExecResult`, its output as text (UTF-8, what is not is replaced) or, with
        `text=False`, as bytes. The command's input is `input`, or nothing: `bytes`, a `str` that is sent as UTF-8, a
        `pathlib.Path` of a local file, or a binary file object, read as it is sent. `check=True` raises `ExecError` for
        a status other than 0, which otherwise is no error. `on_stdout` and `on_stderr` get each piece of output, as
        text or bytes, as it comes; the result has all of it too. They are called one at a time: by the blocking client
        in the thread of the call, by the async one in a worker thread, or awaited if coroutine functions, which the
        blocking one refuses with `TypeError`. Their errors end the command and are raised. A slow one slows down the
        command, and nothing else.

        With `stream=True` returns an `ExecProcess` at once, and with `interactive=True` too, under a PTY. `text=False`
        then is about its errors and `communicate`: its readers always give bytes. `close_stdin=True`, without a PTY,
        ends the command's input at once.

        `timeout` is the command's deadline in seconds, streamed or not: when it passes the service ends the command
        with SIGTERM and then SIGKILL, and whoever waits for it or reads it gets `TimeoutError`.

        Raises `TimeoutError` after `timeout`, `BoxStoppedError` where the machine is stopped or destroyed meanwhile,
        `ConnectionError` where the connection breaks, `ExitUnknownError` where no exit status comes, all with the
        output so far in `stdout` and `stderr`; `ValueError` for options that exclude each other, before any call.
        """
        options = execution.ExecOptions(
            stream, interactive, pty, timeout, close_stdin, cols, rows, text, input, check, on_stdout, on_stderr
        )
        first = options.first_chunk(self._id, command_line(args, env, cwd))
        if options.streamed:
            return await execution.start(self._session, first, options)
        return await execution.run(self._session, first, options)
