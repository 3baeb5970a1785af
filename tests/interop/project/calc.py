"""The project that both engines run, written as for Celery: nothing in it knows of Sedano.

The environment says where: INTEROP_URL is the broker, INTEROP_RESULTS the result store when that is another, INTEROP_FOLDER
holds the files that tests look at, INTEROP_VISIBILITY is the visibility timeout in seconds, INTEROP_SETTINGS more settings as
JSON; those that name a key make it sign its messages.
"""

import json
import os
import time

import errors
from celery import Celery
from celery.utils.log import get_task_logger
from celery.worker.control import control_command

URL = os.environ["INTEROP_URL"]
FOLDER = os.environ["INTEROP_FOLDER"]
# RabbitMQ has no such thing, and py-amqp minds.
VISIBILITY = {} if URL.startswith("amqp") else {"visibility_timeout": float(os.environ.get("INTEROP_VISIBILITY", "3600"))}

app = Celery("calc", broker=URL, backend=os.environ.get("INTEROP_RESULTS", URL))
app.conf.update(
    accept_content=["json", "pickle", "yaml", "msgpack"],
    broker_connection_retry_on_startup=True,
    task_unknown_timeout=0,  # of Sedano: as Celery
    schedule_store=os.environ.get("INTEROP_ORDERS"),  # of Sedano
    broker_transport_options={}
    if "amqp" in URL
    else {"visibility_timeout": float(os.environ.get("INTEROP_VISIBILITY", "3600"))},
)
app.conf.update(json.loads(os.environ.get("INTEROP_SETTINGS", "{}")))
if app.conf.security_key:
    app.setup_security()
ENGINE = type(app).__module__.split(".")[0]
logger = get_task_logger(__name__)


def write(event, what):
    """One line in the ledger; it survives kill -9 of the writer."""
    file = os.open(os.path.join(FOLDER, "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{event} {what} {os.getpid()} {time.monotonic()}\n".encode())
    finally:
        os.close(file)


def wait_for(gate):
    while not os.path.exists(os.path.join(FOLDER, gate)):
        time.sleep(0.01)


@control_command(args=[("gate", str)])
def wait_for_gate(state, gate):
    """Keep the worker from other commands."""
    write("start", state.hostname)
    wait_for(gate)
    return "ok"


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def total(values):
    return sum(values)


@app.task(bind=True)
def fan_out(self, n):
    """A workflow in the place of this call."""
    from celery import group  # noqa: PLC0415 - as users do it

    raise self.replace(group(add.s(i, 1) for i in range(n)) | total.s())


@app.task
def echo(*args, **kwargs):
    return [args, kwargs]


@app.task
def same(value):
    return value


@app.task
def kind(value):
    return type(value).__name__


@app.task
def log(text):
    logger.info("the task says: %s", text)


@app.task
def now(*_):
    return time.time()


@app.task(bind=True)
def mark(self, label=None):
    write("start", label or self.request.id)
    write("end", label or self.request.id)
    return label


@app.task(bind=True)
def nap(self, seconds):
    """Who ran it."""
    write("start", self.request.id)
    time.sleep(seconds)
    write("end", self.request.id)
    return ENGINE


@app.task(bind=True, acks_late=True)
def nap_late(self, seconds):
    write("start", self.request.id)
    time.sleep(seconds)
    write("end", self.request.id)
    return ENGINE


@app.task(bind=True)
def describe(self, *_):
    """The request, as far as it can be compared between two engines."""
    request = self.request
    return {
        "engine": ENGINE,
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "retries": request.retries,
        "args": request.args,
        "kwargs": request.kwargs,
        "hostname": request.hostname,
        "origin": request.origin,
        "reply_to": request.reply_to,
        "correlation_id": request.correlation_id,
        "timelimit": request.timelimit,
        "shadow": request.shadow,
        "ignore_result": request.ignore_result,
        "queue": request.delivery_info["routing_key"],
        "priority": request.delivery_info["priority"],
        "redelivered": request.delivery_info["redelivered"],
        "headers": request.headers,
        "tenant": getattr(request, "tenant", None),
    }


@app.task
def fail(message, *more):
    raise ValueError(message, *more)


@app.task
def fail_by_lookup(key):
    return {}[key]


@app.task
def sell(item, wanted):
    raise errors.OutOfStock(item, wanted)


@app.task
def tell(name):
    import secret  # noqa: PLC0415 - a module that the caller must not know

    raise secret.TooSecret(name)


@app.task(bind=True, max_retries=3)
def flaky(self, failures, countdown=0.05):
    """Succeeds after so many failures."""
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, exc=ConnectionError("not yet", self.request.retries))
    return [self.request.retries, self.request.id]


@app.task(autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0.05, max_retries=2, bind=True)
def auto(self, failures):
    if self.request.retries < failures:
        raise ConnectionError("not yet")
    return self.request.retries


@app.task(bind=True, max_retries=None)
def hop(self, queues, trail=(), countdown=0.05):
    """Retries itself in one queue after another; who ran it, and as which retry."""
    trail = [*trail, [ENGINE, self.request.retries]]
    if queues:
        raise self.retry(args=(queues[1:], trail), queue=queues[0], countdown=countdown)
    return trail


@app.task(bind=True)
def hold(self, gate):
    """Runs until the file `gate` is there."""
    write("start", self.request.id)
    wait_for(gate)
    write("end", self.request.id)
    return ENGINE


@app.task(bind=True, acks_late=True)
def hold_late(self, gate):
    write("start", self.request.id)
    wait_for(gate)
    write("end", self.request.id)
    return ENGINE


@app.task(bind=True, track_started=True)
def tracked(self, gate):
    wait_for(gate)
    return os.getpid()


@app.task(bind=True)
def progress(self, gate):
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 10})
    wait_for(gate)
    return "done"


@app.task
def parent_of(x):
    """Sends a call of its own."""
    return add.delay(x, 1).id


@app.task
def errback(failed_id):
    """The old form of an errback: a task that gets the id."""
    write("start", "errback-" + failed_id)


@app.task
def errback_on_the_spot(request, exc, traceback):
    """The new form: called in the worker."""
    write("start", f"spot-{request.id}-{type(exc).__name__}-{bool(traceback)}")
