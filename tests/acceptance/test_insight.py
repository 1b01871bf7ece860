"""What a client tells of itself: the log, the record of `BOXD_TRACE` and the counters. Never a secret."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

import pytest

import boxd
from boxd.transport import Stats
from tests.acceptance.conftest import Connect
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio

SECRET = "a-s3cret-value"


async def test_no_secret_in_the_log_and_the_trace(
    compute: Connect,
    emulator: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = tmp_path / "trace.jsonl"
    monkeypatch.setenv("BOXD_TRACE", str(path))
    caplog.set_level(logging.DEBUG)
    async with compute(
        api_key=emulator.api_key, api_url=emulator.api_url, exchange_url=emulator.exchange_url
    ) as client:
        await client.whoami()
        with contextlib.suppress(boxd.UnsupportedError):  # It is sent also to a server that does not know the call.
            await client.secret.set("INSIGHT", SECRET)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    paths = [text for one in records for name, text in one.get("headers", ()) if name == ":path"]
    assert [one.rpartition("/")[2] for one in paths] == ["Whoami", "SetVar"]
    frames = [one.getMessage() for one in caplog.records if one.name == "boxd.transport.frames"]
    assert any("/Whoami'" in one and "authorization='[hidden]'" in one for one in frames)
    told = caplog.text + "".join(map(repr, caplog.records)) + path.read_text()
    for secret in (emulator.api_key, emulator.token, SECRET, "Bearer"):
        assert secret not in told


async def test_the_counters_of_a_client(compute: Connect, server: Server) -> None:
    client = compute(**server.settings)
    assert client.stats() == Stats()
    async with client:
        await client.whoami()
        await client.whoami()
        stats = client.stats()
        assert (stats.calls, stats.streams_opened, stats.connections_opened, stats.connections_open) == (2, 2, 1, 1)
        assert stats.bytes_sent > 100
        assert stats.bytes_received > 100
    assert (client.stats().calls, client.stats().connections_open) == (2, 0)
