from __future__ import annotations

import hashlib
import tempfile
import tracemalloc
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd.errors import BoxdError
from boxd.messages.exec import ExecChunk
from boxd.resources.output import Output, Spool
from tests.client.fakes import FakeCall


def drain(spool: Spool) -> bytes:
    pieces = []
    while piece := spool.pop():
        pieces.append(piece)
    return b"".join(pieces)


def test_in_memory_up_to_the_limit() -> None:
    spool = Spool(limit=10)
    for _ in range(5):
        spool.put(b"ab", wanted=False)
    assert spool._file is None
    spool.put(b"c", wanted=False)
    assert spool._file is not None
    assert spool
    assert drain(spool) == b"ababababab" + b"c"
    assert not spool


def test_wanted_data_stays_in_memory() -> None:
    spool = Spool(limit=10)
    spool.put(b"x" * 100, wanted=True)
    assert spool._file is None


def test_data_stays_behind_what_is_in_the_file() -> None:
    spool = Spool(limit=4)
    spool.put(b"1234", wanted=False)
    spool.put(b"56", wanted=False)
    spool.put(b"78", wanted=True)
    assert spool.pop() == b"1234"
    assert spool.spilled
    spool.put(b"9", wanted=False)
    assert drain(spool) == b"56789"
    spool.put(b"next", wanted=False)
    assert not spool.spilled
    assert drain(spool) == b"next"


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from(["pop", "all"]))))
def test_a_queue_whatever_the_order(steps: list[Any]) -> None:
    spool, expected, got = Spool(limit=8), b"", b""
    for step in steps:
        if step == "pop":
            got += spool.pop()
        elif step == "all":
            got += b"".join(spool.pop_all())
        else:
            expected += step
            spool.put(step, wanted=len(step) % 2 == 0)
        assert bool(spool) == (got != expected)
    assert got + drain(spool) == expected


def test_the_file_is_closed_with_the_spool() -> None:
    spool = Spool(limit=0)
    spool.put(b"x", wanted=False)
    file: IO[bytes] | None = spool._file
    assert file is not None
    del spool
    assert file.closed


@pytest.mark.anyio
async def test_memory_is_bounded_and_nothing_is_lost() -> None:
    """64 MiB for an output that nobody reads, while the other is read to its end."""

    class Endless:
        left = 1024

        async def receive_batch(self) -> list[ExecChunk]:
            if not self.left:
                return []
            self.left -= 1
            last = [] if self.left else [ExecChunk(data=b"done"), ExecChunk(exit_code=2)]
            return [ExecChunk(data=bytes([self.left % 251]) * 65536, is_stderr=True), *last]

        def cancel(self) -> None:
            """Nothing to end."""

    out = Output(Endless())
    out.stderr = Spool(1 << 20)
    tracemalloc.start()
    assert await out.wait_data(out.stdout)
    assert out.stdout.pop() == b"done"
    assert await out.wait_exit() == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    expected, got = hashlib.sha256(), hashlib.sha256()
    for left in reversed(range(1024)):
        expected.update(bytes([left % 251]) * 65536)
    while await out.wait_data(out.stderr):
        got.update(out.stderr.pop())
    assert got.digest() == expected.digest()


@pytest.mark.anyio
async def test_a_full_disk_is_an_error_for_every_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    call = FakeCall([ExecChunk(data=b"x" * 100, is_stderr=True), ExecChunk()])
    out = Output(call)
    out.stderr = Spool(limit=10)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            await out.wait_data(out.stdout)
    with pytest.raises(OSError, match="No space left"):
        await out.wait_exit()
    assert call.cancelled


def test_without_a_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only file system, say: what would go to disk stays in memory, in its order."""

    def nowhere(*args: Any, **options: Any) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/']")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    spool = Spool(limit=4)
    for data in (b"abc", b"def", b"ghi"):
        spool.put(data, wanted=False)
    assert spool.size == 9
    assert not spool.spilled
    assert drain(spool) == b"abcdefghi"


@pytest.mark.anyio
async def test_errors_of_the_stream_are_kept() -> None:
    out = Output(FakeCall([BoxdError("broken", 14)]))
    for _ in range(2):
        with pytest.raises(BoxdError, match="broken"):
            await out.wait_exit()
