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


def test_async_clients_in_several_loops_at_once(programs: Programs) -> None:
    """A client for each thread's loop works; one that another loop uses, or a command of it, says so and goes on."""
    printed = programs.run(
        """
        import asyncio, boxd.aio
        ready, done = threading.Event(), threading.Event()
        shared = {}
        async def owner():
            async with boxd.aio.Compute() as client:
                theirs = await client.box.get(sys.argv[1])
                async with await theirs.exec("cat", stream=True) as process:
                    await process.stdin.write("one ")
                    shared.update(client=client, process=process)
                    ready.set()
                    await asyncio.to_thread(done.wait)
                    await process.stdin.write("two")
                    await process.stdin.write_eof()
                    print(b"".join([piece async for piece in process.stdout]), await process.wait())
        async def other():
            process = shared["process"]
            uses = [shared["client"].whoami, process.wait, process.stdout.read, process.stdin.write_eof]
            for use in [*uses, lambda: process.stdin.write("x")]:
                try:
                    await use()
                except boxd.WrongLoopError as error:
                    print("another event loop" in str(error))
            async with boxd.aio.Compute() as own:
                print((await own.whoami()).user_id)
        thread = threading.Thread(target=asyncio.run, args=(owner(),), daemon=True)
        thread.start()
        ready.wait()
        asyncio.run(other())
        done.set()
        thread.join()
        c.close()
        """
    )
    assert printed.splitlines() == ["True"] * 5 + ["local-user", "b'one two' 0"]
