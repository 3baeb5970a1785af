"""The tasks for Huey, on Redis or SQLite. A message is taken out for good before its call: a killed consumer loses it."""

import os
import time

import huey as library

import tally

url = os.environ["BENCH_BROKER"]
terms = {"name": "bench", "results": os.environ.get("BENCH_RESULTS") == "1", "store_none": True}
if url.startswith("sqlite:///"):
    huey = library.SqliteHuey(filename=url.removeprefix("sqlite:///"), **terms)
else:
    # A list that tells of the result makes waiting for it quick and storing it slower: only where somebody waits.
    huey = library.RedisHuey(url=url, notify_result=os.environ.get("BENCH_WAITED") == "1", **terms)


@huey.task()
def noop():
    tally.bump()


@huey.task()
def nap():
    time.sleep(0.01)
    tally.bump()


@huey.task()
def late(sent_at):
    tally.started(sent_at)


@huey.task()
def add(x, y):
    return x + y


TASKS = {"noop": noop, "nap": nap, "late": late, "add": add}


def send(name, *args):
    return TASKS[name](*args)


def result(handle):
    return handle.get(blocking=True, timeout=30)


send_many = None
