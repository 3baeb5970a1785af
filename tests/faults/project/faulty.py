"""The app that the fault tests break: its tasks write start and end to a file outside every store."""

import asyncio
import os
import signal
import time

from sedano import Sedano
from sedano.testing.ledger import Ledger

app = Sedano("faulty", broker=os.environ["FAULT_BROKER"], backend=os.environ["FAULT_RESULTS"])
app.conf.update(
    task_acks_late=os.environ["FAULT_ACKS"] == "late",
    task_max_deliveries=int(os.environ.get("FAULT_DELIVERIES", "5")),
    task_dead_retention=float(os.environ.get("FAULT_DEAD_RETENTION", "604800")),
    task_track_started=False,
    worker_lease_time=float(os.environ.get("FAULT_LEASE", "2")),
)
if os.environ.get("FAULT_AGREED"):  # beside a broker that keeps messages and nothing else
    app.conf.schedule_store = os.environ["FAULT_AGREED"]
ledger = Ledger(os.environ["FAULT_LEDGER"])


def key(task):
    return f"{task.request.id}:{task.request.retries}"


@app.task(bind=True)
def work(self, seconds=0.0):
    ledger.start(key(self))
    if seconds:
        time.sleep(seconds)  # the task's work
    ledger.end(key(self))
    return self.request.id


@app.task(bind=True, max_retries=1, default_retry_delay=0.1)
def again(self):
    ledger.start(key(self))
    ledger.end(key(self))
    if self.request.retries == 0:
        raise self.retry()
    return self.request.id


@app.task(bind=True)
def fail(self):
    ledger.start(key(self))
    ledger.end(key(self))
    raise ValueError("as it was asked to")


@app.task(bind=True)
def gather(self, values):
    """The body of a chord."""
    ledger.start(key(self))
    ledger.end(key(self))
    return len(set(values))


@app.task
def named(given, name):
    """A call of a random workflow: its result says what it was given, and by which name it was called."""
    return [name, given]


@app.task(bind=True)
def large(self, size):
    ledger.start(key(self))
    ledger.end(key(self))
    return "x" * size


@app.task(bind=True)
def size(self, data):
    ledger.start(key(self))
    ledger.end(key(self))
    return len(data)


@app.task(bind=True)
def die(self):
    """Poison: kills its process every time."""
    ledger.start(key(self))
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def hold(self, gate):
    """Runs until the file `gate` exists, as a task that waits for something outside does."""
    ledger.start(key(self))
    while not os.path.exists(gate):
        time.sleep(0.01)
    ledger.end(key(self))
    return self.request.id


@app.task(bind=True)
def hold_each(self, gates):
    """Runs until the folder `gates` has a file named after this process; tells which process ran it."""
    ledger.start(key(self))
    while not os.path.exists(f"{gates}/{os.getpid()}"):
        time.sleep(0.01)
    ledger.end(key(self))
    return os.getpid()


if os.environ.get("FAULT_COROUTINES"):  # the same as coroutines, for a pool that runs them natively

    @app.task(bind=True, name=work.name)
    async def work(self, seconds=0.0):
        ledger.start(key(self))
        if seconds:
            await asyncio.sleep(seconds)  # the task's work
        ledger.end(key(self))
        return self.request.id

    @app.task(bind=True, name=again.name, max_retries=1, default_retry_delay=0.1)
    async def again(self):
        ledger.start(key(self))
        ledger.end(key(self))
        if self.request.retries == 0:
            raise self.retry()
        return self.request.id


# The same with late ack, whatever the settings say.
for early in (work, again, fail, large):
    app.task(bind=True, acks_late=True, max_retries=1, default_retry_delay=0.1, name=f"{early.name}_late")(early.run.__func__)
