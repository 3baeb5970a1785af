"""The app and its tasks, the same for both engines. What is to be measured comes by environment."""

import os
import time

if os.environ["BENCH_ENGINE"] == "celery":
    from celery import Celery
else:
    from sedano import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ.get("BENCH_BACKEND") or None)
app.conf.update(
    task_ignore_result=os.environ.get("BENCH_RESULTS") != "1",
    broker_connection_retry_on_startup=True,
    task_default_queue="bench",
)
if os.environ["BENCH_ENGINE"] == "celery":
    # Celery's own advice for short tasks.
    app.conf.worker_prefetch_multiplier = int(os.environ.get("BENCH_PREFETCH", "64"))
elif os.environ.get("BENCH_PREFETCH"):
    app.conf.worker_prefetch_multiplier = int(os.environ["BENCH_PREFETCH"])
    app.conf.worker_window_time = 0


@app.task(name="bench.noop")
def noop():
    return None


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.nap")
def nap():
    time.sleep(0.01)


@app.task(name="bench.mark")
def mark(path):
    with open(path, "a") as file:
        file.write(f"{time.monotonic()}\n")
