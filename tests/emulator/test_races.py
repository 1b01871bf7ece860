"""Two calls at one moment: exactly one takes a name, and what belongs to a box that goes meanwhile goes with it."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import boxd
import boxd.emulator
from boxd.emulator import Local
from tests.emulator.support import works

AT_ONCE = 8


class Bench:
    """An emulator, a client of it, and calls from several threads at once."""

    def __init__(self, client: boxd.Compute, local: Local, temporary: Path) -> None:
        self.c = client
        self.local = local
        self._temporary = temporary
        self.pool = ThreadPoolExecutor(2 * AT_ONCE)

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        """The results, or the errors, of calls that begin together."""
        barrier = threading.Barrier(len(calls))

        def one(call: Callable[[], Any]) -> Any:
            barrier.wait(10)
            try:
                return call()
            except boxd.BoxdError as error:
                return error

        return list(self.pool.map(one, calls))

    def files(self, kind: str) -> set[str]:
        (state,) = self._temporary.iterdir()
        return set(os.listdir(state / kind)) if (state / kind).is_dir() else set()


@pytest.fixture(params=["namespaces", "plain"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    if request.param == "namespaces" and works("root") and works("user-namespace"):
        pytest.skip("no namespaces here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        boxd.emulator.running(sandbox=request.param, max_boxes=30) as local,
        boxd.Compute(token=local.token, api_url=local.api_url) as client,
    ):
        bench = Bench(client, local, tmp_path)
        yield bench
        bench.pool.shutdown()
        for box in client.box.list():
            box.destroy()
        assert bench.files("disks") == set()
    assert os.listdir(tmp_path) == []


def one_won(results: list[Any], error: type[Exception], text: str) -> Any:
    """The one result; all others are errors of this kind."""
    won = [result for result in results if not isinstance(result, Exception)]
    lost = [result for result in results if isinstance(result, Exception)]
    assert len(won) == 1, results
    assert all(type(one) is error and text in str(one) for one in lost), lost
    return won[0]


def test_a_name_is_taken_once(bench: Bench) -> None:
    c = bench.c
    made = one_won(
        bench.at_once(*[lambda: c.box.create("same")] * AT_ONCE), boxd.InvalidArgumentError, "the name 'same' is taken"
    )
    one_won(
        bench.at_once(*[lambda: c.box.fork(made, "forked")] * AT_ONCE), boxd.InvalidArgumentError, "'forked' is taken"
    )
    boxes = [c.box.create(f"box-{number}") for number in range(4)]
    results = bench.at_once(
        *[lambda box=box: box.rename("wanted") for box in boxes],
        lambda: c.box.create("wanted"),
        lambda: c.box.fork(made, "wanted"),
    )
    one_won(results, boxd.InvalidArgumentError, "'wanted' is taken")
    names = [box.name for box in c.box.list()]
    assert len(names) == len(set(names))
    assert names.count("wanted") == 1
    assert c.box.get("wanted").exec("sh", "-c", "echo on").stdout == "on\n"


def test_the_quota_is_not_passed(bench: Bench) -> None:
    results = bench.at_once(*[lambda: bench.c.box.create()] * 16)
    results += bench.at_once(*[lambda: bench.c.box.create()] * 16)
    assert sum(isinstance(result, boxd.QuotaExceededError) for result in results) == 2
    assert len(bench.c.box.list()) == len(bench.files("disks")) == 30


def test_destroyed_once(bench: Bench) -> None:
    box = bench.c.box.create("gone")
    results = bench.at_once(*[lambda: bench.c.box.get(box.id).destroy()] * AT_ONCE)
    one_won(results, boxd.NotFoundError, "destroyed")
    results = bench.at_once(bench.c.box.create("two").destroy, lambda: bench.c.box.create("gone"))
    assert results[0] is None
    assert results[1].name == "gone"


def test_a_fork_of_a_box_that_goes_is_whole_or_not_there(bench: Bench) -> None:
    for number in range(8):
        source = bench.c.box.create()
        source.write_file(b"content", "file")
        fork, gone = bench.at_once(lambda s=source, n=number: bench.c.box.fork(s, f"fork-{n}"), source.destroy)
        assert gone is None
        if isinstance(fork, Exception):
            assert type(fork) is boxd.NotFoundError
        else:
            assert fork.read_file("file") == b"content"
    assert len(bench.c.box.list()) == len(bench.files("disks"))


class Gate(io.RawIOBase):
    """A file that stops after its first part until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._parts = [b"x" * 65536] * 4

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if len(self._parts) == 2:
            self.reached.set()
            assert self.go_on.wait(20)
        return self._parts.pop() if self._parts else b""


@pytest.mark.parametrize("ending", ["destroy", "stop", "reboot"])
def test_an_upload_ends_with_its_machine(bench: Bench, ending: str) -> None:
    box, gate = bench.c.box.create(), Gate()
    upload = bench.pool.submit(box.files.upload, gate, "file")
    assert gate.reached.wait(10)
    getattr(box, ending)()
    gate.go_on.set()
    with pytest.raises(boxd.BoxdError, match=r"stopped|destroyed") as caught:
        upload.result(20)
    assert type(caught.value) is not boxd.InternalError
    if ending != "destroy":
        box.start()
        assert [entry.name for entry in box.files.list(".") if not entry.name.startswith(".boxd-upload")] == []


def test_an_upload_goes_on_after_a_suspension(bench: Bench) -> None:
    box, gate = bench.c.box.create(), Gate()
    upload = bench.pool.submit(box.files.upload, gate, "file")
    assert gate.reached.wait(10)
    box.suspend()
    gate.go_on.set()
    assert upload.result(20) == 4 * 65536
    assert len(box.read_file("file")) == 4 * 65536


@pytest.mark.parametrize("ending", ["destroy", "stop", "reboot"])
def test_a_command_ends_with_its_machine(bench: Bench, ending: str) -> None:
    box = bench.c.box.create()
    with box.exec("sh", "-c", "echo out; sleep 60", stream=True) as process:
        output = iter(process.stdout)
        assert next(output) == b"out\n"
        getattr(box, ending)()
        with pytest.raises(boxd.BoxStoppedError):
            process.wait()


def test_a_stream_stands_still_and_loses_nothing(bench: Bench) -> None:
    box = bench.c.box.create()
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
    with box.exec("sh", "-c", script, stream=True) as process:
        output = iter(process.stdout)
        got = next(output)
        for _ in range(5):
            box.suspend()
            box.resume()
        got += b"".join(output)
        assert process.wait() == 0
    assert got.split() == [str(number).encode() for number in range(3000)]


def test_transitions_of_one_box_follow_each_other(bench: Bench) -> None:
    box = bench.c.box.create()
    calls = (box.suspend, box.resume, box.stop, box.start, box.reboot, box.hibernate, box.wake)
    for result in bench.at_once(*calls):
        assert not isinstance(result, boxd.InternalError), result
    box.start()
    assert box.exec("sh", "-c", "echo on").stdout == "on\n"


def test_what_belongs_to_a_box_goes_with_it(bench: Bench) -> None:
    """Ports, disks and checkpoints that are made while the box is destroyed."""
    c = bench.c
    for number in range(6):
        box = c.box.create()
        disk = c.disk.create(f"disk-{number}", "1G")
        calls = [lambda b=box: b.ports.expose(8000), lambda b=box: b.checkpoints.create(), box.destroy]
        if bench.local.sandbox != "plain":
            calls.append(lambda b=box, d=disk: d.attach(b, "/data"))
        for result in bench.at_once(*calls):
            assert not isinstance(result, boxd.InternalError), result
        (known,) = [one for one in c.disk.list() if one.id == disk.id]
        assert known.attachments == []
        disk.destroy()
    assert bench.files("disks") == bench.files("volumes") == set()


def test_names_of_checkpoints_and_snapshots_are_taken_once(bench: Bench) -> None:
    box = bench.c.box.create()
    results = bench.at_once(*[lambda: box.checkpoints.create("same")] * AT_ONCE)
    one_won(results, boxd.InvalidArgumentError, "exists")
    assert not [one for one in bench.at_once(*[box.checkpoints.create] * 4) if isinstance(one, Exception)]
    assert [one.name for one in box.checkpoints.list()] == ["same", *(f"checkpoint-{n}" for n in range(1, 5))]
    results = bench.at_once(*[lambda: bench.c.snapshot.create(box, "base")] * AT_ONCE)
    assert sorted(one.version for one in results) == list(range(1, AT_ONCE + 1))
    assert len(bench.c.snapshot.list()) == 1
    assert len(bench.files("disks")) == 1 + 5 + 1
    bench.c.snapshot.delete("base")


def test_a_snapshot_is_whole_for_who_has_begun_to_use_it(bench: Bench) -> None:
    """Its disk is removed, or replaced by the next version's, when nobody copies it any more."""
    box = bench.c.box.create()
    box.exec("sh", "-c", "seq 400 | xargs touch")
    for _ in range(4):
        bench.c.snapshot.create(box, "base")
        results = bench.at_once(
            lambda: bench.c.box.create(from_snapshot="base"),
            lambda: bench.c.snapshot.create(box, "base"),
            lambda: bench.c.box.create(from_snapshot="base"),
            lambda: bench.c.snapshot.delete("base"),
        )
        for made in (results[0], results[2]):
            if isinstance(made, Exception):
                assert type(made) is boxd.NotFoundError
            else:
                assert len(made.files.list(".")) == 400
                made.destroy()
        if bench.c.snapshot.list():
            bench.c.snapshot.delete("base")
    assert len(bench.files("disks")) == 1
