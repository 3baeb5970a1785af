"""What tutorials show of running a cluster, typed command by command: with `sedano` and with `celery` under the alias.

Two workers with queues of their own, on a Redis.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers import RedisServer, is_left_out

from sedano.testing.node import Node

PATIENCE_S = 60.0
BAKERY = """
import os, time
from celery import Celery
from celery.signals import celeryd_init, task_postrun, worker_ready
from kombu import Exchange, Queue

app = Celery("bakery", broker={url!r}, backend={url!r})
app.conf.task_queues = (
    Queue("bread", Exchange("bread"), routing_key="bread"),
    Queue("cakes", Exchange("cakes"), routing_key="cakes"),
)
app.conf.task_default_queue = "bread"
app.conf.task_routes = {{"bakery.cake*": {{"queue": "cakes"}}}}
HERE = os.path.dirname(os.path.abspath(__file__))

def note(text):
    with open(os.path.join(HERE, "notes.txt"), "a") as file:
        file.write(text + "\\n")

@celeryd_init.connect(sender="cakes@shop")
def slow_down(conf=None, **kwargs):
    conf.task_default_rate_limit = "600/m"

@worker_ready.connect
def say_ready(sender=None, **kwargs):
    note("ready " + sender.hostname)

@task_postrun.connect
def say_done(task=None, state=None, **kwargs):
    note("done " + task.name + " " + str(state))

@app.task
def loaf(weight):
    return weight * 2

@app.task(rate_limit="100/s", time_limit=60, soft_time_limit=50)
def cake(layers):
    return "cake" * layers

@app.task(bind=True)
def prove(self):
    note("proving")
    while not os.path.exists(os.path.join(HERE, "baked")):
        time.sleep(0.02)
    return "risen"
"""
CAMERA = """
from celery.events.snapshot import Polaroid
from celery.events.state import State, Task, Worker

class Album(Polaroid):
    clear_after = True

    def on_shutter(self, state: State):
        if not state.event_count:
            return
        with open("album.txt", "a") as file:
            for name in state.workers:
                worker: Worker = state.workers[name]
                file.write(f"worker {worker.id} {worker.hostname} {worker.alive}\\n")
            for uuid in state.tasks:
                task: Task = state.tasks[uuid]
                file.write(f"task {task.id} {task.name} {task.state}\\n")
"""
WATCH = """
from bakery import app
from camera import Album
from celery.events import EventDispatcher

state, seen = app.events.State(), []

def on_end(event):
    state.event(event)
    task = state.tasks.get(event["uuid"])
    seen.append(("end", task.name, task.state))

def on_custom(event):
    seen.append(event["type"])
    if event["type"] == "oven-cold":
        recv.should_stop = True

with app.connection() as connection:
    recv = app.events.Receiver(
        connection, handlers={"task-succeeded": on_end, "oven-hot": on_custom, "oven-cold": on_custom, "*": state.event}
    )
    with Album(state, freq=0.1):
        it = recv.itercapture(limit=None, timeout=30, wakeup=True)
        next(it)
        from bakery import loaf
        loaf.delay(1).get(timeout=30)
        with app.connection() as other:
            EventDispatcher(other).send(type="oven-hot")
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send(type="oven-cold")
        for _ in it:
            pass
assert "oven-hot" in seen and "oven-cold" in seen, seen
print("watched")
"""
CONTROL = """
import celery.app.control as ctrl
from bakery import app
inspect, control = ctrl.Inspect(app=app, timeout=10), ctrl.Control(app=app)
assert set(inspect.active()) == set(inspect.reserved()) == {"bread@shop", "cakes@shop"}
assert [queue["name"] for queue in inspect.active_queues()["cakes@shop"]] == ["cakes"]
told = dict(reply=True, timeout=10)
def one(replies): return {name: list(answer)[0] for reply in replies for name, answer in reply.items()}
assert one(control.add_consumer(queue="pies", destination=["cakes@shop"], **told)) == {"cakes@shop": "ok"}
assert {queue["name"] for queue in inspect.active_queues()["cakes@shop"]} == {"cakes", "pies"}
assert app.tasks["bakery.loaf"].apply_async((3,), queue="pies").get(timeout=30) == 6
assert one(control.cancel_consumer(queue="pies", destination=["cakes@shop"], **told)) == {"cakes@shop": "ok"}
assert len(control.enable_events(**told)) == len(control.disable_events(**told)) == 2
control.heartbeat()
app.tasks["bakery.loaf"].apply_async((1,), queue="nobody")
print("purged", control.purge())
"""


@dataclass
class Shop:
    folder: Path

    def type(self, line: str, *, program: str = "sedano", code: int = 0) -> str:
        """Type a command line; what it prints. `celery` is the alias's."""
        variables = {**os.environ, "SEDANO_AS_CELERY": "1", "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", program, *line.split()],
            cwd=self.folder, env=variables, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, (line, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def python(self, program: str) -> str:
        (self.folder / "program.py").write_text(program)
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=self.folder, env={**os.environ, "SEDANO_AS_CELERY": "1"}, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def send(self, words: str, program: str = "celery") -> str:
        return self.type(f"-A bakery call {words}", program=program).split()[0]

    def until(self, ask: Callable[[], str], wanted: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in (said := ask()):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        return said

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module", params=["redis", "embedded"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("bakery")
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{folder}/calls.db"
        if request.param == "redis":
            if is_left_out("redis"):
                pytest.skip("SEDANO_WITHOUT names redis")
            server = RedisServer()
            server.start()
            stack.callback(server.close)
            url = server.url
        (folder / "bakery.py").write_text(BAKERY.format(url=url))
        (folder / "camera.py").write_text(CAMERA)
        nodes = [
            stack.enter_context(Node("bakery", cwd=folder, name=f"{queue}@shop", concurrency=1, options=["-Q", queue, "-E"]))
            for queue in ("bread", "cakes")
        ]
        for node in nodes:
            node.wait_ready()
        yield Shop(folder)


def test_given_two_workers_when_asked_for_their_state_then_each_command_answers(shop: Shop) -> None:
    for program in ("sedano", "celery"):
        said = shop.type("-A bakery status --timeout 10", program=program)
        assert "bread@shop: OK" in said
        assert "2 nodes online." in said
    asked = json.loads(shop.type("-A bakery inspect registered -j --timeout 10", program="celery"))
    assert "bakery.cake [rate_limit=100/s]" in asked["bread@shop"]
    stats = json.loads(shop.type("-A bakery inspect stats -j -d cakes@shop --timeout 10"))
    assert list(stats) == ["cakes@shop"]
    for command in ("active", "scheduled", "reserved", "revoked", "active_queues", "conf", "clock", "ping", "report"):
        assert "cakes@shop" in shop.type(f"-A bakery inspect {command} --timeout 10", program="celery"), command
    assert "ready bread@shop" in shop.read("notes.txt")


def test_given_calls_when_looked_at_revoked_and_ended_then_the_commands_say_so(shop: Shop) -> None:
    baked = shop.send("bakery.loaf --args=[4]")
    shop.until(lambda: shop.type(f"-A bakery result -t bakery.loaf {baked}", program="celery"), "8")
    late = shop.send("bakery.loaf --args=[4] --countdown=3600", program="sedano")
    shop.until(lambda: shop.type("-A bakery inspect scheduled --timeout 10", program="celery"), late)
    assert "flagged as revoked" in shop.type(f"-A bakery control revoke {late} --timeout 10", program="celery")
    assert late in shop.type("-A bakery inspect revoked --timeout 10")
    held = shop.send("bakery.prove")
    shop.until(lambda: shop.type("-A bakery inspect active --timeout 10"), held)
    assert "active" in shop.type(f"-A bakery inspect query_task {held} --timeout 10", program="celery")
    waiting = shop.send("bakery.loaf --args=[1]")
    assert waiting in shop.type(f"-A bakery why {waiting}")
    ended = shop.python(
        "from bakery import app\nfrom celery.result import AsyncResult\n"
        f"AsyncResult({held!r}, app=app).revoke(terminate=True)\n"
        f"print(AsyncResult({waiting!r}, app=app).get(timeout=60), AsyncResult({held!r}, app=app).state)"
    )
    assert ended.split() == ["2", "REVOKED"]
    assert "done bakery.loaf SUCCESS" in shop.read("notes.txt")


def test_given_running_workers_when_they_are_told_limits_and_sizes_then_they_follow(shop: Shop) -> None:
    told = {
        "rate_limit bakery.loaf 50/s": "new rate limit set successfully",
        "rate_limit bakery.nothing 5/s": "unknown task",
        "time_limit bakery.loaf 30 60": "time limits set successfully",
        "pool_grow 1": "pool will grow",
        "pool_shrink 1": "pool will shrink",
        "add_consumer tarts": "add consumer tarts",
        "cancel_consumer tarts": "no longer consuming from tarts",
        "enable_events": "already enabled",
        "disable_events": "disabled",
        "heartbeat": "bread@shop",
    }
    for place, (line, answer) in enumerate(told.items()):
        program = ("sedano", "celery")[place % 2]
        assert answer in shop.type(f"-A bakery control {line} --timeout 10", program=program), line
    shop.type("-A bakery control enable_events --timeout 10", program="celery")


def test_given_programs_that_ask_and_tell_when_run_then_control_and_inspect_answer(shop: Shop) -> None:
    assert shop.python(CONTROL).startswith("purged")
    shop.type("-A bakery control enable_events --timeout 10")


def test_given_events_when_watched_then_cameras_handlers_and_custom_events_work(shop: Shop) -> None:
    assert shop.python(WATCH) == "watched\n"
    assert "worker bread@shop" in shop.until(lambda: shop.read("album.txt"), "worker bread@shop")


@pytest.mark.parametrize("program", ["sedano", "celery"])
def test_given_the_events_command_when_calls_run_then_dump_and_camera_show_them(shop: Shop, program: str) -> None:
    (shop.folder / "album.txt").unlink(missing_ok=True)
    variables = {**os.environ, "SEDANO_AS_CELERY": "1", "PYTHONUNBUFFERED": "1"}
    with contextlib.ExitStack() as stack:
        out = stack.enter_context((shop.folder / f"dump-{program}.txt").open("w"))
        for words in (["--dump"], ["-c", "camera.Album", "--frequency=0.2"]):
            process = subprocess.Popen(
                [sys.executable, "-m", program, "-A", "bakery", "events", *words],
                cwd=shop.folder, env=variables, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
            stack.callback(process.wait, PATIENCE_S)
            stack.callback(process.terminate)

        def send_and_read(name: str) -> Callable[[], str]:
            def step() -> str:
                shop.send("bakery.cake --args=[2]")
                return shop.read(name)

            return step

        shop.until(send_and_read(f"dump-{program}.txt"), "task succeeded")
        shop.until(send_and_read("album.txt"), "bakery.cake")


def test_given_waiting_messages_when_purged_by_queue_then_only_those_go(shop: Shop) -> None:
    for queue in ("flour", "sugar"):
        shop.send(f"bakery.loaf --args=[1] --queue={queue}")
    assert "1" in shop.type("-A bakery purge -f -Q flour", program="celery")
    assert "sugar" in shop.type("-A bakery queues")
    for program in ("sedano", "celery"):
        for command in ("status", "result", "purge", "inspect", "control", "events", "worker", "call"):
            assert f"{command} " in shop.type(f"{command} --help", program=program)
