"""The producer process of one engine, whose tasks are in the module BENCH_APP names. Prints one JSON object.

python sender.py fill TASK N M      N calls one after the other, then M in bulk where the engine has that (else likewise)
python sender.py roundtrip N        a call and its result, one after the other
python sender.py paced N RATE       N calls at RATE per second; each tells how long after its sending it began
python sender.py later TASK N S     N calls that are due in S seconds, in bulk where the engine has that
python sender.py later_one TASK N S the same, one after the other
python sender.py due N RATE S       N calls, the first due in S seconds, RATE each second; each tells how late it began
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
import time

app = importlib.import_module(os.environ["BENCH_APP"])


async def call(work):
    """Plain functions and coroutine functions alike; a plain one costs nothing more."""
    return await work if inspect.iscoroutine(work) else work


def clocks():
    return time.perf_counter(), time.process_time()


def figures(count, before):
    seconds, cpu = (after - start for after, start in zip(clocks(), before, strict=True))
    return {"rate": count / seconds, "cpu_us": cpu / count * 1e6} if count else {}


async def one_by_one(task, count):
    send = app.send
    if inspect.iscoroutinefunction(send):
        for _ in range(count):
            await send(task)
    else:
        for _ in range(count):
            send(task)


async def fill(task, one, many):
    """The first call, which connects and declares, is not measured; it takes the place of one of the others."""
    await one_by_one(task, 1)
    before = clocks()
    await one_by_one(task, max(0, one - 1))
    done = {"one": figures(max(0, one - 1), before)}
    before = clocks()
    if app.send_many is None:
        await one_by_one(task, many if one else many - 1)
    else:
        await call(app.send_many(task, many if one else many - 1))
        done["bulk"] = figures(many, before)
    return done


async def roundtrip(count):
    for _ in range(50):
        await call(app.result(await call(app.send("add", 1, 1))))
    times = []
    for number in range(count):
        started = time.perf_counter()
        got = await call(app.result(await call(app.send("add", number, 1))))
        times.append(time.perf_counter() - started)
        assert got == number + 1, got
    times.sort()
    return {"p50_ms": times[count // 2] * 1e3, "p99_ms": times[int(count * 0.99)] * 1e3}


async def paced(count, rate):
    start = time.monotonic()
    for number in range(count):
        wait = start + number / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)  # noqa: ASYNC251 - nothing else is to happen in this process meanwhile
        await call(app.send("late", time.monotonic()))
    return {"count": count}


async def later(task, count, seconds, *, bulk):
    before = clocks()
    if bulk and app.send_many is not None:
        await call(app.send_many(task, count, countdown=seconds))
    else:
        for _ in range(count):
            await call(app.send_later(task, seconds))
    return figures(count, before)


async def due(count, rate, seconds):
    first = time.monotonic() + seconds
    for number in range(count):
        when = first + number / rate
        await call(app.send_later("late", max(0.0, when - time.monotonic()), when))
    return {"ahead_s": first - time.monotonic()}


async def main(words):
    if hasattr(app, "start"):
        await app.start()
    what = words[0]
    if what == "fill":
        done = await fill(words[1], int(words[2]), int(words[3]))
    elif what == "roundtrip":
        done = await roundtrip(int(words[1]))
    elif what in ("later", "later_one"):
        done = await later(words[1], int(words[2]), float(words[3]), bulk=what == "later")
    elif what == "due":
        done = await due(int(words[1]), float(words[2]), float(words[3]))
    else:
        done = await paced(int(words[1]), float(words[2]))
    if hasattr(app, "stop"):
        await app.stop()
    return done


def run(coroutine):
    """In an event loop for the engines that need one; the others must not find one running."""
    if hasattr(app, "start"):
        import uvloop  # noqa: PLC0415 - it is in the environments of asyncio engines only

        uvloop.install()
        return asyncio.run(coroutine)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a blocking engine has waited for something")


if __name__ == "__main__":
    print(json.dumps(run(main(sys.argv[1:]))))
