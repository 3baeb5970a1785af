"""The tasks for SAQ. A job moves to a list of active ones while it runs; its result is kept in the job's own record."""

import asyncio
import os

from saq import Queue

import tally

queue = Queue.from_url(os.environ["BENCH_BROKER"], name="bench")
TTL_S = 86400 if os.environ.get("BENCH_RESULTS") == "1" else -1


async def noop(ctx):
    tally.bump()


async def nap(ctx):
    await asyncio.sleep(0.01)
    tally.bump()


async def late(ctx, *, sent_at):
    tally.started(sent_at)


async def add(ctx, *, x, y):
    return x + y


NAMES = {"noop": (), "nap": (), "late": ("sent_at",), "add": ("x", "y")}
settings = {
    "queue": queue,
    "functions": [noop, nap, late, add],
    "concurrency": int(os.environ.get("BENCH_CONCURRENCY") or 10),
}


async def start():
    await queue.connect()


async def stop():
    await queue.disconnect()


async def send(name, *args):
    return await queue.enqueue(name, ttl=TTL_S, **dict(zip(NAMES[name], args, strict=True)))


async def result(handle):
    # `refresh(until_complete=…)` subscribes after it has looked and misses what ends in between; this is as often as helps.
    while not handle.completed:
        await asyncio.sleep(0.0005)
        await handle.refresh()
    return handle.result


send_many = None
