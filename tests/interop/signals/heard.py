"""An app with a receiver for every signal, which writes what it is told to the file HEARD, one JSON object a line.

Runs under Celery and under Sedano alike: it imports `celery`. Values are described, not shown: what differs from run to run
(process ids, times) becomes its type.
"""

from __future__ import annotations

import json
import os
import signal as signal_module
import time
from datetime import datetime

from celery import Celery, Task, signals
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.dispatch import Signal

app = Celery("heard", broker=os.environ["STORE"], backend=os.environ["STORE"])
app.conf.update(
    task_default_queue="heard",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_unknown_timeout=0,
    task_store_eager_result=False,
)
os.environ.setdefault("HEARD_MAIN", str(os.getpid()))  # the process that began; those that it makes inherit the number
NAMED = ("sig", "how", "state", "exchange", "routing_key", "task_id", "id", "name", "terminated", "expired", "taskset")


def name_of(value):
    if isinstance(value, Task):
        return f"task:{value.name}"
    return value if value is None or isinstance(value, str) else type(value).__name__


def describe(name, value):
    """A value as text that is the same in every run."""
    if name in NAMED and (value is None or isinstance(value, str | bool)):
        return value
    if isinstance(value, Task):
        return name_of(value)
    if isinstance(value, Context):
        return "Context"
    if isinstance(value, signal_module.Signals):
        return value.name
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return "int"
    if name in ("args", "kwargs", "retval", "result") and isinstance(value, list | tuple | dict | int | str):
        return json.loads(json.dumps(value, default=str))
    if name in ("request", "einfo", "instance", "logger", "conf", "reason"):
        return type(value).__name__
    if isinstance(value, dict):
        return sorted(map(str, value))
    return type(value).__name__


def task_of(named):
    request = named.get("request")
    message = named.get("message")
    for id_ in (
        named.get("task_id"),
        named.get("id"),
        getattr(request, "id", None),
        (getattr(message, "headers", None) or {}).get("id"),
        (named.get("headers") or {}).get("id"),
    ):
        if id_:
            return id_
    running = app.current_task if named.get("result") is not None else None
    return running.request.id if running is not None else None


def listen(name, signal):
    def receiver(sender=None, signal=None, **named):
        pid = os.getpid()
        record = {
            "signal": name,
            "sender": name_of(sender),
            "role": os.environ.get("HEARD_ROLE") or ("main" if str(pid) == os.environ["HEARD_MAIN"] else "child"),
            "args": {key: describe(key, value) for key, value in sorted(named.items())},
            "task": task_of(named),
            "pid": pid,
        }
        with open(os.environ["HEARD"], "a") as file:
            file.write(json.dumps(record) + "\n")

    signal.connect(receiver, weak=False, dispatch_uid=f"heard.{name}")


# A receiver of `setup_logging` would take the worker's log away, and with it the signals that follow.
SILENT = {"setup_logging"} if not os.environ.get("HEARD_LOGGING") else set()
for _name, _signal in sorted(vars(signals).items()):
    if isinstance(_signal, Signal) and _name not in SILENT and _name != "heartbeat_sent":
        listen(_name, _signal)


@app.task
def succeed(x):
    return x


@app.task
def fail(x):
    raise ValueError(x)


@app.task(bind=True, default_retry_delay=0.1, max_retries=1)
def again(self, x):
    if self.request.retries == 0:
        raise self.retry(exc=KeyError(x))
    return x


@app.task
def ignore(x):
    raise Ignore


@app.task(acks_late=True)
def reject(x):
    raise Reject("no", requeue=False)


@app.task
def wait(x):
    time.sleep(x)


@app.task(time_limit=1)
def too_long(x):
    time.sleep(x)


@app.task(soft_time_limit=0.5)
def rather_long(x):
    time.sleep(x)


@app.task(soft_time_limit=0.5)
def stops_itself(x):
    try:
        time.sleep(x)
    except SoftTimeLimitExceeded:
        return "stopped"


@app.task
def unstorable(x):
    return object()


@app.task
def dies(x):
    os._exit(3)


PAST = datetime(2020, 1, 1)
