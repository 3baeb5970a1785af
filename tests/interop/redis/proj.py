"""The application that real Celery runs in these tests. It knows nothing of Sedano."""

import os

from celery import Celery

app = Celery("proj", broker=os.environ["BROKER"], backend=os.environ["RESULTS"])
app.conf.update(
    broker_transport_options={"visibility_timeout": float(os.environ.get("VISIBILITY_TIMEOUT", "3600"))},
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_routes={"proj.ours": {"queue": "ours"}},
)


@app.task(name="proj.add")
def add(x, y):
    return x + y


@app.task(name="proj.ours")
def ours(x):
    return -x


@app.task(name="proj.tsum")
def tsum(numbers):
    return sum(numbers)
