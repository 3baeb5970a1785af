"""Tasks whose calls live and end in every way there is, for those who compare what is told of them."""

import os
import time

from calc import FOLDER, app, wait_for, write
from celery.exceptions import Ignore, Reject


@app.task
def fine(x, y=1):
    return x + y


@app.task
def wrong(text):
    raise ValueError(text)


@app.task
def wide(count):
    return "x" * count


@app.task
def blunder(count):
    raise ValueError("y" * count)


@app.task(bind=True, max_retries=3)
def again(self, failures):
    if self.request.retries < failures:
        raise self.retry(countdown=0, exc=KeyError("not yet"))
    return self.request.retries


@app.task(bind=True, max_retries=1)
def again_without_reason(self):
    raise self.retry(countdown=0)


@app.task(autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0, max_retries=1)
def auto():
    raise ConnectionError("never")


@app.task(bind=True)
def slow(self, gate):
    write("start", self.request.id)
    wait_for(gate)


@app.task(bind=True, acks_late=True)
def slow_late(self, gate):
    write("start", self.request.id)
    wait_for(gate)


@app.task(acks_late=True)
def late():
    return "late"


@app.task(acks_late=True)
def late_and_wrong():
    raise KeyError("late")


@app.task
def refuse():
    raise Reject("no thanks", requeue=False)


@app.task(acks_late=True)
def refuse_late():
    raise Reject("no thanks", requeue=False)


@app.task(bind=True, acks_late=True)
def refuse_once(self):
    seen = os.path.join(FOLDER, f"refused-{self.request.id}")
    if not os.path.exists(seen):
        with open(seen, "w"):
            raise Reject("later", requeue=True)
    return "taken"


@app.task
def ignore():
    raise Ignore


@app.task(time_limit=1)
def too_long():
    time.sleep(60)


@app.task(soft_time_limit=1)
def too_long_softly():
    time.sleep(60)


@app.task
def deadly():
    os._exit(3)


@app.task(rate_limit="5/s")
def limited(n):
    return n


@app.task(send_events=False)
def quiet():
    return "nobody hears"


@app.task(bind=True)
def tells(self):
    self.send_event("task-checkpoint", step=2)
    return "told"


@app.task(bind=True)
def instead(self):
    raise self.replace(fine.si(5).set(task_id=f"{self.request.id}-instead"))


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    return "done"
