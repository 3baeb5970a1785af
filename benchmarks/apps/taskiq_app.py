"""The tasks for taskiq with taskiq-redis: the stream broker, the one that acknowledges. Its tasks are coroutines."""

import asyncio
import os

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

import tally

url = os.environ["BENCH_BROKER"]
unbatched = os.environ.get("BENCH_UNBATCHED") == "1"
broker = RedisStreamBroker(url=url, queue_name="bench", consumer_id="0", xread_count=1 if unbatched else 100)
if os.environ.get("BENCH_RESULTS") == "1":
    broker = broker.with_result_backend(RedisAsyncResultBackend(redis_url=url, result_ex_time=86400))


@broker.task(task_name="bench.noop")
async def noop():
    tally.bump()


@broker.task(task_name="bench.nap")
async def nap():
    await asyncio.sleep(0.01)
    tally.bump()


@broker.task(task_name="bench.late")
async def late(sent_at):
    tally.started(sent_at)


@broker.task(task_name="bench.add")
async def add(x, y):
    return x + y


TASKS = {"noop": noop, "nap": nap, "late": late, "add": add}


async def start():
    await broker.startup()


async def stop():
    await broker.shutdown()


async def send(name, *args):
    return await TASKS[name].kiq(*args)


async def result(handle):
    # It polls, every 200 ms unless told otherwise; this is as often as helps.
    return (await handle.wait_result(check_interval=0.0005, timeout=30)).return_value


send_many = None
