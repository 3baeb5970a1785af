"""A real Flower under the alias: `import celery` and `import kombu` mean Sedano, and neither Celery nor Kombu is installed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.interop import environments
from tests.servers import RedisServer, is_left_out

from sedano.testing.node import Node

pytestmark = pytest.mark.celery
PROJECT = """
import os
from celery import Celery
from celery.contrib.abortable import AbortableTask

app = Celery("proj", broker=os.environ["STORE"], backend=os.environ["STORE"])

@app.task
def add(x, y):
    return x + y

@app.task
def fail():
    raise ValueError("no")

@app.task(bind=True, base=AbortableTask)
def until_aborted(self):
    import time
    deadline = time.monotonic() + 60
    while not self.is_aborted() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "aborted"
"""
PATIENCE_S = 60.0
EVERY_MODULE = """
import importlib, pkgutil, sedano.as_celery, flower, celery, kombu
assert "sedano" in celery.__name__ and "sedano" in kombu.__name__
for module in pkgutil.walk_packages(flower.__path__, "flower."):
    importlib.import_module(module.name)
    print(module.name)
"""


@dataclass
class Flower:
    """`node` is a Sedano worker; `base` the address of its Flower."""

    base: str
    node: Node
    log: Path

    def ask(self, path: str, **fields: Any) -> Any:
        """GET, or POST with JSON `fields`; JSON where it is, else text. Raises AssertionError with Flower's log."""
        data = json.dumps(fields).encode() if fields else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}\n{self.log.read_text()}") from error
        with contextlib.suppress(ValueError):
            return json.loads(text)
        return text

    def outcome(self, task_id: str) -> Any:
        """What Flower says of a call when it is over. (Where it waits, it tells the state of before.)"""
        self.ask(f"/api/task/result/{task_id}?timeout=60")
        return self.ask(f"/api/task/result/{task_id}")

    def until(self, question: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := question()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def python() -> Path:
    return environments.python_of(environments.flower())


@pytest.fixture(scope="module")
def flower(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    folder = tmp_path_factory.mktemp("flower")
    (folder / "proj.py").write_text(PROJECT)
    store_port, port = free_port(), free_port()  # Flower's own look at the broker knows no address of a socket with a database
    path = os.pathsep.join([str(environments.ROOT / "src"), str(folder)])
    variables = environments.clean_environment(
        {"STORE": f"redis://127.0.0.1:{store_port}/0", "PYTHONPATH": path, "FLOWER_UNAUTHENTICATED_API": "true"}
    )
    command = [str(python), "-m", "sedano"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(RedisServer("--port", str(store_port)))
        options = ["-E"]
        node = Node(
            "proj", cwd=folder, name="w1@flower", options=options, concurrency=1, environment=variables, command=command
        )
        stack.enter_context(node).wait_ready()
        log = folder / "flower.log"
        with log.open("wb") as stream:
            words = [*command, "-A", "proj", "flower", f"--port={port}", "--address=127.0.0.1", "--inspect_timeout=5000"]
            process = subprocess.Popen(words, cwd=folder, env=variables, stdout=stream, stderr=stream)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        served = Flower(f"http://127.0.0.1:{port}", node, log)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                return bool(served.ask("/healthcheck") == "OK")
            return False

        served.until(answers)
        # It takes orders for workers that it has inspected, and shows what it has heard: a heartbeat says that it listens.
        served.until(lambda: "w1@flower" in served.ask("/api/workers?refresh=1"))
        served.until(lambda: any(row["status"] for row in served.ask("/workers?json=1")["data"]))
        yield served


def test_every_module_of_flower_finds_what_it_imports(python: Path) -> None:
    environment = environments.clean_environment({"PYTHONPATH": str(environments.ROOT / "src")})
    done = subprocess.run(
        [python, "-c", EVERY_MODULE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "flower.views.broker" in done.stdout


def test_flower_says_where_the_broker_is_and_which_tasks_there_are(flower: Flower) -> None:
    log = flower.log.read_text()
    assert "Broker: redis://127.0.0.1:" in log
    assert "'proj.add'" in log


@pytest.mark.parametrize("page", ["/", "/workers", "/tasks", "/broker", "/metrics"])
def test_the_pages_are_served(flower: Flower, page: str) -> None:
    assert len(flower.ask(page)) > 500


def test_workers_are_inspected(flower: Flower) -> None:
    workers = flower.ask("/api/workers?refresh=1")

    worker = workers["w1@flower"]
    assert {"proj.add", "proj.fail"} <= {name.split(" ")[0] for name in worker["registered"]}
    assert worker["stats"]["pid"] == flower.node.pid
    assert [queue["name"] for queue in worker["active_queues"]] == ["celery"]
    assert worker["conf"]["broker_url"].startswith("redis://127.0.0.1:")


def test_a_worker_is_shown(flower: Flower) -> None:
    flower.ask("/api/workers?refresh=1&workername=w1@flower")

    assert "proj.add" in flower.ask("/worker/w1@flower")


def test_the_lengths_of_queues_are_told(flower: Flower) -> None:
    flower.ask("/api/workers?refresh=1")

    assert flower.ask("/api/queues/length") == {"active_queues": [{"name": "celery", "messages": 0}]}


def test_calls_are_sent_and_their_results_read(flower: Flower) -> None:
    assert flower.ask("/api/task/apply/proj.add", args=[2, 3])["result"] == 5
    sent = flower.ask("/api/task/async-apply/proj.add", args=[1, 2])
    by_name = flower.ask("/api/task/send-task/proj.fail", args=[])
    done = flower.outcome(sent["task-id"])
    failed = flower.outcome(by_name["task-id"])

    assert (done["state"], done["result"]) == ("SUCCESS", 3)
    assert failed["state"] == "FAILURE"
    assert "ValueError" in failed["result"]


def test_a_worker_takes_orders(flower: Flower) -> None:
    assert flower.ask("/api/worker/pool/grow/w1@flower", n=1) == {"message": "Growing 'w1@flower' worker's pool by 1"}
    assert "Shrinking" in flower.ask("/api/worker/pool/shrink/w1@flower", n=1)["message"]
    assert flower.ask("/api/worker/queue/add-consumer/w1@flower?queue=more", any=1)["message"] == "add consumer more"
    assert "more" in flower.ask("/api/worker/queue/cancel-consumer/w1@flower?queue=more", any=1)["message"]
    assert "success" in flower.ask("/api/task/rate-limit/proj.add?workername=w1@flower&ratelimit=100", any=1)["message"]
    assert "success" in flower.ask("/api/task/timeout/proj.add?workername=w1@flower&hard=60", any=1)["message"]


def test_a_call_is_aborted_and_another_revoked(flower: Flower) -> None:
    runs = flower.ask("/api/task/async-apply/proj.until_aborted", args=[])["task-id"]
    waits = flower.ask("/api/task/async-apply/proj.add", args=[1, 2])["task-id"]

    assert "Revoked" in flower.ask(f"/api/task/revoke/{waits}", terminate=False)["message"]
    flower.ask(f"/api/task/abort/{runs}", any=1)

    assert flower.outcome(runs)["result"] == "aborted"
    assert flower.outcome(waits)["state"] == "REVOKED"


def test_workers_and_calls_are_followed_by_their_events(flower: Flower) -> None:
    sent = flower.ask("/api/task/async-apply/proj.add", args=[20, 3])["task-id"]
    failed = flower.ask("/api/task/async-apply/proj.fail", args=[])["task-id"]

    def state(task_id: str) -> Any:
        return flower.ask("/api/tasks").get(task_id, {}).get("state")

    flower.until(lambda: (state(sent), state(failed)) == ("SUCCESS", "FAILURE"))
    shown = flower.ask(f"/api/task/info/{sent}")
    assert (shown["name"], shown["args"], shown["result"], shown["worker"]) == ("proj.add", "[20, 3]", "23", "w1@flower")
    assert shown["received"] <= shown["started"] <= shown["succeeded"]
    assert "ValueError" in flower.ask(f"/api/task/info/{failed}")["exception"]
    assert "proj.add" in flower.ask(f"/task/{sent}")
    assert {"proj.add", "proj.fail"} <= set(flower.ask("/api/task/types")["task-types"])

    (worker,) = flower.ask("/workers?json=1")["data"]
    assert (worker["hostname"], worker["status"]) == ("w1@flower", True)
    assert worker["task-succeeded"] >= 1
    assert 'flower_worker_online{worker="w1@flower"} 1.0' in flower.ask("/metrics")
