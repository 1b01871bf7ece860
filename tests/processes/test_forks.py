"""A forked child and its parent."""

from __future__ import annotations

import pytest

from tests.processes.conftest import Programs


@pytest.mark.row(54)
def test_a_forked_child_works_and_leaves_the_parent_alone(programs: Programs) -> None:
    printed = programs.run(
        """
        open_process = box.exec("cat", stream=True)
        open_process.stdin.write("before ")
        pid = os.fork()
        if pid == 0:
            print("child", box.exec("echo", "one").stdout.strip(), flush=True)
            with boxd.Compute() as own:
                print("child", own.box.get(box.id).name == box.name, flush=True)
            c.close()
            sys.exit(3)
        _, status = os.waitpid(pid, 0)
        print("status", os.waitstatus_to_exitcode(status))
        open_process.stdin.write("after")
        open_process.stdin.write_eof()
        print("parent", b"".join(open_process.stdout), open_process.wait())
        print("parent", box.exec("echo", "two").stdout.strip())
        c.close()
        """
    )
    assert printed.splitlines() == [
        "child one",
        "child True",
        "status 3",
        "parent b'before after' 0",
        "parent two",
    ]


def test_a_process_of_the_parent_is_not_the_childs(programs: Programs) -> None:
    printed = programs.run(
        """
        process = box.exec("cat", stream=True)
        process.stdin.write("x")
        pid = os.fork()
        if pid == 0:
            for use in (process.wait, process.stdout.read, lambda: process.stdin.write("y"), process.stdin.write_eof):
                try:
                    use()
                except boxd.WrongLoopError as error:
                    print(isinstance(error, boxd.BoxdError) and isinstance(error, RuntimeError), error, flush=True)
            process.close()
            os._exit(0)
        os.waitpid(pid, 0)
        process.stdin.write_eof()
        print(b"".join(process.stdout), process.wait())
        c.close()
        """
    )
    *refusals, last = printed.splitlines()
    assert len(refusals) == 4
    assert all(line.startswith("True ") and "fork" in line for line in refusals), refusals
    assert last == "b'x' 0"


@pytest.mark.row(54)
def test_fork_while_other_threads_call(programs: Programs) -> None:
    printed = programs.run(
        """
        stop = threading.Event()
        def work():
            while not stop.is_set():
                assert box.exec("echo", "thread").stdout == "thread\\n"
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers: worker.start()
        for number in range(5):
            pid = os.fork()
            if pid == 0:
                ok = box.exec("echo", str(number)).stdout == f"{number}\\n"
                os._exit(0 if ok else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stop.set()
        for worker in workers: worker.join()
        c.close()
        """
    )
    assert printed.split() == ["0"] * 5


def test_a_pool_of_forked_workers(programs: Programs) -> None:
    printed = programs.run(
        """
        import multiprocessing
        def work(number):
            return box.exec("sh", "-c", f"echo {number * number}").stdout.strip()
        with multiprocessing.get_context("fork").Pool(3) as pool:
            print(pool.map(work, range(9)))
            pool.close()
            pool.join()
        print(box.exec("echo", "parent").stdout.strip())
        c.close()
        """
    )
    assert printed.splitlines() == [str([str(number * number) for number in range(9)]), "parent"]


def test_an_async_client_in_a_forked_child(programs: Programs) -> None:
    printed = programs.run(
        """
        import asyncio, boxd.aio
        async def main(client):
            print((await (await client.box.get(sys.argv[1])).exec("echo", "async")).stdout.strip(), flush=True)
        client = boxd.aio.Compute()
        asyncio.run(main(client))
        pid = os.fork()
        if pid == 0:
            asyncio.run(main(client))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        asyncio.run(main(client))
        c.close()
        """
    )
    assert printed.splitlines() == ["async", "async", "0", "async"]


@pytest.mark.row(54)
def test_fork_while_another_thread_imports(programs: Programs) -> None:
    """What a call needs is imported with the first one. A fork in the middle of that waits for its end: the child would
    find the module's lock taken by a thread that it does not have."""
    printed = programs.run(
        """
        begun = threading.Event()
        class Slow:
            def find_spec(self, name, path, target=None):
                if name == "boxd.blocking.process":
                    begun.set()
                    time.sleep(0.3)
        sys.meta_path.insert(0, Slow())
        assert "boxd.blocking.process" not in sys.modules
        thread = threading.Thread(target=lambda: print(box.exec("echo", "thread").stdout.strip(), flush=True))
        thread.start()
        begun.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(box.exec("sh", "-c", "exit 3").exit_code)
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        c.close()
        """
    )
    assert printed.splitlines() == ["thread", "3"]
