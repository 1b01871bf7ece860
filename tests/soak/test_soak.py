"""A short soak: what `scripts/soak` does for minutes."""

from __future__ import annotations

import anyio
import pytest

from tests.soak.__main__ import Run, arguments
from tests.soak.client import Soak
from tests.soak.faults import Fault


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_no_result_is_lost_or_wrong(backend: str) -> None:
    run = Run(arguments(["--unary", "2000", "--streams", "300", "--faults", "150", "--quiet", "--backend", backend]))
    run.run()
    run.report()  # With the seed, where it fails.
    assert run.problems() == []
    assert run.soak.tally.right > 1_000
    assert run.server["connections"] > 1
    assert {"RESET", "REFUSED", "STATUS", "PIECES"} <= set(run.server["faults"])


def test_a_wrong_answer_is_seen() -> None:
    """The soak itself: another answer, a lost one, and another error all count as wrong."""

    class Liar:
        """A channel that leaves out the last byte."""

        async def unary(self, method: object, request: bytes, *, timeout: float) -> bytes:
            return request[:-1]

    soak = Soak(Liar(), seed=1, faults=0)  # type: ignore[arg-type]
    anyio.run(soak.unary_calls, iter(range(3)))
    assert len(soak.tally.wrong) == 3
    assert soak.tally.right == 0
    soak = Soak(Liar(), seed=1, faults=1_000)  # type: ignore[arg-type]
    soak._failed(1, Fault.STATUS, 5, RuntimeError("x"), beside=True)
    assert len(soak.tally.wrong) == 1
