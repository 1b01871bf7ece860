"""Servers of worker processes, in the ways in which they make them."""

from __future__ import annotations

from tests.processes.conftest import Programs


def test_workers_that_are_spawned(programs: Programs) -> None:
    """Each starts afresh and imports the module with the client itself."""
    printed = programs.run(
        """
        import multiprocessing
        from tests.processes import work
        print(work.echo(sys.argv[1], 0)[0])
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            results = pool.starmap(work.echo, [(sys.argv[1], number) for number in range(6)])
            pool.close()
            pool.join()
        print([text for text, _ in results], os.getpid() in {pid for _, pid in results})
        work.client.close()
        c.close()
        """
    )
    assert printed.splitlines() == ["0", "['0', '1', '2', '3', '4', '5'] False"]


def test_preloaded_workers(programs: Programs) -> None:
    """As with gunicorn's --preload: the application and its client are made, and used, before the workers are forked.
    A worker that dies is replaced while the others serve; all end on SIGTERM, and the arbiter's client still works."""
    printed = programs.run(
        """
        requests, answers = os.pipe(), os.pipe()
        def serve():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            while True:
                number = os.read(requests[0], 1)
                if number == b"!":
                    os.kill(os.getpid(), signal.SIGKILL)
                text = box.exec("echo", number.decode()).stdout
                os.write(answers[1], text.encode())
        def fork():
            pid = os.fork()
            if pid == 0:
                serve()
            return pid
        def ask(numbers):
            os.write(requests[1], numbers)
            found = b""
            while len(found) < 2 * len(numbers):
                found += os.read(answers[0], 100)
            return b"".join(sorted(found.split()))
        box.exec("true")
        logs = box.exec("cat", stream=True)
        workers = {fork() for _ in range(3)}
        print(ask(b"1234567"), flush=True)  # Else a forked worker would print it too.
        os.write(requests[1], b"!")
        dead, _ = os.wait()
        workers = workers - {dead} | {fork()}
        print(ask(b"12345678"), flush=True)
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        print(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers))
        logs.stdin.write("mine")
        logs.stdin.write_eof()
        print(b"".join(logs.stdout), box.exec("echo", "arbiter").stdout.strip())
        c.close()
        """
    )
    assert printed.splitlines() == ["b'1234567'", "b'12345678'", "[0, 0, 0]", "b'mine' arbiter"]


def test_a_pool_that_replaces_its_workers(programs: Programs) -> None:
    """As with celery's prefork: workers are forked from a process whose client and threads are in use, do some tasks
    each, end without clean-up, and are replaced from a parent that goes on calling."""
    printed = programs.run(
        """
        import multiprocessing
        stop = threading.Event()
        def beat():
            while not stop.is_set():
                box.exec("true")
        def task(number):
            with box.exec("cat", stream=True) as process:
                process.stdin.write(str(number))
                process.stdin.write_eof()
                return b"".join(process.stdout), process.wait(), os.getpid()
        heart = threading.Thread(target=beat)
        heart.start()
        with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=2) as pool:
            results = pool.map(task, range(8), chunksize=1)
            pool.close()
            pool.join()
        stop.set()
        heart.join()
        print([int(text) for text, status, _ in results if status == 0])
        print(len({pid for _, _, pid in results}) >= 4)
        c.close()
        """
    )
    assert printed.splitlines() == [str(list(range(8))), "True"]
