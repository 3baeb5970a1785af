"""The producer process of one engine: `python sender.py preload|enqueue|roundtrip N [MARK]`. Prints one JSON object."""

import json
import sys
import time

from work import add, mark, nap, noop


def preload(count: int, path: str, task: str) -> dict:
    """Fill the queue: a mark, `count` calls, a mark."""
    work = {"noop": noop, "nap": nap}[task]
    mark.delay(path)
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        work.delay()
    seconds = time.perf_counter() - started
    used = time.process_time() - cpu
    mark.delay(path)
    return {"count": count, "seconds": seconds, "rate": count / seconds, "cpu_us": used / count * 1e6}


def roundtrip(count: int) -> dict:
    for _ in range(50):
        add.delay(1, 1).get(timeout=30)
    times = []
    for number in range(count):
        started = time.perf_counter()
        assert add.delay(number, 1).get(timeout=30) == number + 1
        times.append(time.perf_counter() - started)
    times.sort()
    return {"p50_ms": times[count // 2] * 1e3, "p99_ms": times[int(count * 0.99)] * 1e3, "count": count}


if __name__ == "__main__":
    what, count = sys.argv[1], int(sys.argv[2])
    done = roundtrip(count) if what == "roundtrip" else preload(count, sys.argv[3], sys.argv[4])
    print(json.dumps(done))
