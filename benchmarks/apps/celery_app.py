"""The tasks for Sedano and for Celery: the same file for both. What is to be measured comes by environment."""

import os
import time

import tally

ENGINE = os.environ["BENCH_ENGINE"]

if ENGINE == "sedano":
    import sedano.as_celery  # noqa: F401 - `kombu` means ours where it is not installed
    from sedano import Celery
else:
    from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ.get("BENCH_BACKEND") or None)
app.conf.update(
    task_ignore_result=os.environ.get("BENCH_RESULTS") != "1",
    broker_connection_retry_on_startup=True,
    task_default_queue="bench",
)
if os.environ.get("BENCH_QUORUM"):
    from kombu import Queue

    app.conf.task_queues = [Queue("bench", queue_arguments={"x-queue-type": "quorum"})]
if os.environ.get("BENCH_PREFETCH"):
    app.conf.worker_prefetch_multiplier = int(os.environ["BENCH_PREFETCH"])
if os.environ.get("BENCH_UNBATCHED"):
    app.conf.worker_prefetch_multiplier = 1
    if ENGINE == "sedano":
        app.conf.worker_window_time = 0


@app.task(name="bench.noop")
def noop():
    tally.bump()


@app.task(name="bench.nap")
def nap():
    time.sleep(0.01)
    tally.bump()


@app.task(name="bench.late")
def late(sent_at):
    tally.started(sent_at)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.total")
def total(numbers):
    return sum(numbers)


TASKS = {"noop": noop, "nap": nap, "late": late, "add": add}


def send(name, *args):
    return TASKS[name].delay(*args)


def result(handle):
    return handle.get(timeout=30)


def send_later(name, seconds, *args):
    return TASKS[name].apply_async(args, countdown=seconds)


send_many = None

if ENGINE == "sedano":

    def send_many(name, count, **options):
        """In portions, so that nobody keeps a million handles."""
        for start in range(0, count, 10_000):
            app.send_many(TASKS[name].s().set(**options) for _ in range(min(10_000, count - start)))
