"""The app whose calls end badly in each way that there is. Each takes one argument: as an errback it is sent as a call."""

import os
import signal
import time

from sedano import Sedano

app = Sedano("positions", broker=os.environ["FAULT_BROKER"], backend=os.environ["FAULT_RESULTS"])
app.conf.update(task_max_deliveries=1, task_unknown_timeout=0, worker_lease_time=2)


@app.task
def good(given=None):
    return 1


@app.task
def raises(given=None):
    raise LookupError("as it was asked to")


@app.task(soft_time_limit=0.2)
def soft(given=None):
    time.sleep(60)  # until the limit


@app.task(time_limit=0.2)
def hard(given=None):
    time.sleep(60)  # until the limit


@app.task
def killed(given=None):
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True)
def killed_late(given=None):
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def unwritable(given=None):
    return object()


@app.task
def expired(given=None):
    raise AssertionError("it has run")


@app.task
def revoked(given=None):
    raise AssertionError("it has run")
