"""Measures one row with whichever `boxd` is installed beside the running Python, and prints a number.

    python client.py ROW PORT

The published client and ours have the same names, so that one program measures both. It imports nothing that the
client under measure does not need, except where the row has begun already.
"""

from __future__ import annotations

import sys
import time

_STARTED = time.perf_counter()
MB = 1_000_000


def url() -> str:
    return f"http://127.0.0.1:{sys.argv[2]}"


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def blocking():
    from boxd import Compute

    return Compute(token="bench", api_url=url())


def asynchronous(measure):
    """Run a measurement with an async client."""
    import asyncio

    from boxd.aio import Compute

    async def main():
        client = Compute(token="bench", api_url=url())
        await client.whoami()
        result = await measure(client)
        await client.close()
        return result

    return asyncio.run(main())


async def times(count, call):
    """The median time of a call, in microseconds."""
    out = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        out.append(time.perf_counter() - start)
    return median(out) * 1e6


def import_ms():
    from boxd import Compute  # noqa: F401

    return (time.perf_counter() - _STARTED) * 1e3


def first_answer_ms():
    blocking().whoami()
    return (time.perf_counter() - _STARTED) * 1e3


def unary_async_us():
    return asynchronous(lambda c: times(2000, c.whoami))


def unary_blocking_us():
    c = blocking()
    c.whoami()
    out = []
    for _ in range(2000):
        start = time.perf_counter()
        c.whoami()
        out.append(time.perf_counter() - start)
    c.close()
    return median(out) * 1e6


def unary_cpu_us():
    async def measure(c):
        start = time.process_time()
        for _ in range(2000):
            await c.whoami()
        return (time.process_time() - start) / 2000 * 1e6

    return asynchronous(measure)


def unary_100_per_s():
    import asyncio

    async def measure(c):
        async def worker():
            for _ in range(50):
                await c.whoami()

        start = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(100)))
        return 5000 / (time.perf_counter() - start)

    return asynchronous(measure)


def exec_us():
    async def measure(c):
        box = await c.box.get("any")
        return await times(500, lambda: box.exec("out", "10", "1"))

    return asynchronous(measure)


async def chunks(c, size, count):
    """Seconds for a command's output, read as a stream."""
    box = await c.box.get("any")
    start = time.perf_counter()
    process = await box.exec("out", str(size), str(count), stream=True)
    total = 0
    async for piece in process.stdout:
        total += len(piece)
    assert total == size * count
    assert await process.wait() == 0
    return time.perf_counter() - start


def stream_64k_mb_s():
    async def measure(c):
        return 65536 * 1600 / await chunks(c, 65536, 1600) / MB

    return asynchronous(measure)


def stream_256_per_s():
    async def measure(c):
        return 30_000 / await chunks(c, 256, 30_000)

    return asynchronous(measure)


def echo_us():
    async def measure(c):
        box = await c.box.get("any")
        process = await box.exec("cat", stream=True)
        pieces = process.stdout.__aiter__()

        async def echo():
            written = process.stdin.write(b"x" * 64)
            if written is not None:  # The published client's write only queues.
                await written
            await process.stdin.drain()
            await pieces.__anext__()

        result = await times(1000, echo)
        closed = process.close()
        if closed is not None:
            await closed
        return result

    return asynchronous(measure)


def upload_mb_s():
    async def measure(c):
        box = await c.box.get("any")
        data = bytes(100 * MB)
        start = time.perf_counter()
        await box.write_file(data, "file")
        return 100 * MB / (time.perf_counter() - start) / MB

    return asynchronous(measure)


def download(size):
    async def measure(c):
        box = await c.box.get("any")
        out = []
        for _ in range(5):
            start = time.perf_counter()
            data = await box.read_file(f"/{size}")
            out.append(size / (time.perf_counter() - start) / MB)
            assert len(data) == size
        return median(out)

    return asynchronous(measure)


def list_1000_ms():
    async def measure(c):
        await c.box.list(org="1000")
        return await times(20, lambda: c.box.list(org="1000")) / 1e3

    return asynchronous(measure)


def peak_mb():
    """The peak memory of a process that does what the rows do, downloads aside, in megabytes."""
    import resource

    unary_async_us()
    exec_us()
    stream_64k_mb_s()
    stream_256_per_s()
    upload_mb_s()
    list_1000_ms()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def streams(what):
    """1,000 exec streams open at once: seconds, or bytes of memory, for each."""
    import asyncio
    import resource

    async def measure(c):
        box = await c.box.get("any")
        await box.exec("out", "10", "1")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        processes = await asyncio.gather(*(box.exec("cat", stream=True) for _ in range(1000)))
        for process in processes:
            written = process.stdin.write(b"x")
            if written is not None:
                await written
        for process in processes:
            await process.stdout.__aiter__().__anext__()
        elapsed = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        for process in processes:
            closed = process.close()
            if closed is not None:
                await closed
        return elapsed * 1e3 if what == "ms" else memory * 1024 / 1000 / 1e3

    return asynchronous(measure)


ROWS = {
    "import_ms": import_ms,
    "first_answer_ms": first_answer_ms,
    "unary_async_us": unary_async_us,
    "unary_blocking_us": unary_blocking_us,
    "unary_cpu_us": unary_cpu_us,
    "unary_100_per_s": unary_100_per_s,
    "exec_us": exec_us,
    "stream_64k_mb_s": stream_64k_mb_s,
    "stream_256_per_s": stream_256_per_s,
    "echo_us": echo_us,
    "upload_mb_s": upload_mb_s,
    "download_100_mb_s": lambda: download(100 * MB),
    "download_3_mb_s": lambda: download(3 * MB),
    "list_1000_ms": list_1000_ms,
    "peak_mb": peak_mb,
    "streams_1000_ms": lambda: streams("ms"),
    "streams_1000_kb_each": lambda: streams("memory"),
}

if __name__ == "__main__":
    print(ROWS[sys.argv[1]]())
    sys.stdout.flush()
