"""A command whose handle is dropped without being closed."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.acceptance.shell import lasts_until, sh

pytestmark = pytest.mark.anyio


async def test_r34_a_dropped_process_is_ended_with_a_warning(box: Any) -> None:
    async with lasts_until(box) as (hold, released):
        process = await sh(box, f"{hold}; sleep 600", stream=True)
        await released.held()
        with pytest.warns(ResourceWarning, match="Exec was left open"):
            del process
        await released()


async def test_a_reader_keeps_its_process(box: Any) -> None:
    reader = (await sh(box, "echo one; sleep 0.2; echo two", stream=True)).stdout
    gc.collect()
    assert b"".join([piece async for piece in reader]) == b"one\ntwo\n"
