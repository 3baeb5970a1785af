"""Celery's paths of the worker's parts and pools, as programs and plugins use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sedano.testing.node import Node


def run(folder: Path, program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "import sedano.as_celery\n" + program],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


STATE = """
import threading
from celery.contrib.testing.app import TestApp
from celery.contrib.testing.worker import start_worker
from celery.worker import state
from celery.worker.state import active_requests, requests, reserved_requests, revoked, total_count

app = TestApp(set_as_current=True)
begun, go = threading.Event(), threading.Event()

@app.task(name="hold")
def hold():
    begun.set()
    go.wait(60)

assert (list(active_requests), dict(total_count), state.should_stop) == ([], {}, None)
with start_worker(app, perform_ping_check=False) as worker:
    call = hold.delay()
    assert begun.wait(30)
    (running,) = active_requests
    assert (running.id, running.name, running.hostname) == (call.id, "hold", worker.hostname)
    assert running in reserved_requests and requests[call.id] == running and len(active_requests) == 1
    assert (total_count["hold"], state.all_total_count) == (1, [1])
    revoked.add("b-1")
    assert "b-1" in revoked and "b-2" not in revoked
    assert worker.stats()["total"] == {"hold": 1} and worker.rusage()["utime"] > 0 and worker.info()["pid"]
    state.should_stop = 0
    go.set()
assert worker.exitcode == 0
try:
    state.maybe_shutdown()
except BaseException as left:
    print(type(left).__name__)
"""


def test_given_a_worker_in_this_process_when_its_state_is_read_then_it_tells_the_truth(tmp_path: Path) -> None:
    assert run(tmp_path, STATE) == "WorkerShutdown\n"


CONTROLLER = """
import threading
from celery import Celery
from celery.apps.worker import Worker
from celery.worker import WorkController

app = Celery("proj", broker="memory://ctl", backend="memory://ctl")
heard = []

class Mine(WorkController):
    def on_before_init(self, **options):
        heard.append(("before", self.app.main, options["queues"]))
    def on_after_init(self, **options):
        heard.append(("after", self.hostname))
    def on_start(self):
        heard.append("start")
    def on_consumer_ready(self, consumer):
        heard.append(("ready", consumer.hostname))
        super().on_consumer_ready(consumer)
    def on_close(self):
        heard.append("close")
    def on_stopped(self):
        heard.append("stopped")

node = Mine(app, hostname="mine@here", queues="a,b", pool_cls="solo", state_db=None, task_time_limit=30, no_color=True,
            ready_callback=lambda consumer: heard.append("callback"))
assert node.stats()["total"] == {} and node.options.time_limit == 30 and node.options.queues == ("a", "b")
thread = threading.Thread(target=node.start)
thread.start()
assert node.ready.wait(30)
assert isinstance(node, Worker) and issubclass(app.Worker, Worker) and app.WorkController.app is app
node.stop()
thread.join()
assert heard == [("before", "proj", "a,b"), ("after", "mine@here"), "start", ("ready", "mine@here"), "callback", "close",
                 "stopped"], heard
try:
    app.Worker(concurency=2)
except TypeError as error:
    print(error)
"""


def test_given_a_subclass_of_workcontroller_when_it_runs_then_its_hooks_are_called(tmp_path: Path) -> None:
    assert run(tmp_path, CONTROLLER) == "a worker has no option 'concurency'. Did you mean 'concurrency'?\n"


NAMES = """
from celery import bootsteps
from celery.concurrency import get_available_pool_names, get_implementation
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.base import BasePool
from celery.concurrency import eventlet, gevent, prefork, solo, thread
from celery.worker.components import Hub, Pool, Timer
from celery.worker.loops import asynloop, synloop
from celery.worker.pidbox import Pidbox, gPidbox
from celery.worker.strategy import default
from sedano.worker.bootsteps import in_order

for module in (eventlet, gevent, prefork, solo, thread):
    assert issubclass(module.TaskPool, BasePool)
assert get_implementation("threads") is thread.TaskPool and "prefork" in get_available_pool_names()
assert get_implementation("celery.concurrency.prefork:TaskPool") is prefork.TaskPool
pool = thread.TaskPool(2)
pool.start()
seen = []
pool.apply_async(seen.append, (4,), callback=lambda value: seen.append(value)).get(10)
pool.stop()
assert seen == [4, None]

class Mine(bootsteps.StartStopStep):
    requires = {Pool, Timer, "celery.worker.components:Hub"}

assert in_order([Mine]) == [Mine]
for refused in (lambda: default(None, None, None), lambda: Pidbox(None), asynloop, prefork.TaskPool(1).start):
    try:
        refused()
    except NotImplementedError as error:
        assert "use" in str(error) or "own" in str(error) or "signal" in str(error)
    else:
        raise AssertionError(refused)
print("done")
"""


def test_given_the_paths_of_parts_and_pools_when_imported_then_they_can_be_named(tmp_path: Path) -> None:
    assert run(tmp_path, NAMES) == "done\n"


POOL = """
from celery import Celery
from celery.concurrency.thread import TaskPool

app = Celery("proj", broker="sqlite:///calls.db", backend="sqlite:///calls.db")

class Named(TaskPool):
    def on_start(self):
        print("the pool of my own starts")
        super().on_start()

@app.task
def add(x, y):
    return x + y
"""


def test_given_a_pool_made_of_celerys_threads_when_a_worker_runs_it_then_calls_run(tmp_path: Path) -> None:
    (tmp_path / "proj.py").write_text(POOL)
    with Node("proj", cwd=tmp_path, options=["-P", "proj:Named"]) as node:
        node.wait_ready()
        assert "the pool of my own starts" in node.log()
        program = "from proj import add\nprint(add.delay(2, 3).get(timeout=30))"
        assert run(tmp_path, program) == "5\n"
