"""Threads and event loops of the program."""

from __future__ import annotations

import pytest

from tests.processes.conftest import Programs


def test_threads_that_come_and_go(programs: Programs) -> None:
    printed = programs.run(
        """
        results = []
        for turn in range(5):
            workers = [
                threading.Thread(target=lambda n=n: results.append(box.exec("echo", str(n)).stdout)) for n in range(4)
            ]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
        print(len(results), sorted(set(results)))
        print([thread.name for thread in threading.enumerate()])
        c.close()
        """
    )
    assert printed.splitlines() == ["20 ['0\\n', '1\\n', '2\\n', '3\\n']", "['MainThread', 'boxd']"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_blocking_calls_inside_a_running_loop(programs: Programs, backend: str) -> None:
    """As in a notebook, whose cells run in a loop."""
    printed = programs.run(
        f"""
        import anyio
        async def cell():
            print(box.exec("echo", "inside").stdout.strip())
            with box.exec("cat", stream=True) as process:
                process.stdin.write("streamed")
                process.stdin.write_eof()
                print(b"".join(process.stdout))
            with boxd.Compute() as another:
                print(another.whoami().user_id)
        anyio.run(cell, backend="{backend}")
        c.close()
        """
    )
    assert printed.splitlines() == ["inside", "b'streamed'", "local-user"]


def test_one_async_client_in_one_loop_after_the_other(programs: Programs) -> None:
    printed = programs.run(
        """
        import asyncio, boxd.aio
        client = boxd.aio.Compute()
        async def main():
            return (await (await client.box.get(sys.argv[1])).exec("echo", "again")).stdout.strip()
        print(asyncio.run(main()), asyncio.run(main()))
        asyncio.run(client.close())
        c.close()
        """
    )
    assert printed == "again again\n"
