"""Plays calls of every kind on one engine, and collects which signals its processes heard.

What comes out is the same for every run of one engine: the records of each call in order, and those that belong to no call, by
process. `recordings/record_signals.py` keeps what a real Celery answers.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.interop import environments
from tests.interop.peers import Engine, Place
from tests.servers import RedisServer

from sedano.testing.node import Node

PROJECT = Path(__file__).resolve().parent / "signals"
NODE = "w1@signals"
Record = dict[str, Any]
ELSEWHERE = (
    "task_received",
    "task_revoked",
    "task_rejected",
    "task_unknown",
    "worker_before_create_process",
)

# call -> (what the caller says, the signal that is the last one heard of it)
CALLS: Mapping[str, tuple[str, str]] = {
    "success": ("succeed.apply_async(('v',), task_id='success')", "task_postrun"),
    "failure": ("fail.apply_async(('v',), task_id='failure')", "task_postrun"),
    "retry": ("again.apply_async(('v',), task_id='retry')", "task_success"),
    "ignore": ("ignore.apply_async(('v',), task_id='ignore')", "task_postrun"),
    "reject": ("reject.apply_async(('v',), task_id='reject')", "task_postrun"),
    "expired": ("succeed.apply_async(('v',), task_id='expired', expires=PAST)", "task_revoked"),
    "revoked": ("app.control.revoke('revoked', reply=True); succeed.apply_async(('v',), task_id='revoked')", "task_revoked"),
    "unknown": ("app.send_task('heard.nobody', ('v',), task_id='unknown')", "task_unknown"),
    "hard limit": ("too_long.apply_async((60,), task_id='hard limit')", "task_failure"),
    "soft limit": ("rather_long.apply_async((60,), task_id='soft limit')", "task_postrun"),
    "stops itself": ("stops_itself.apply_async((60,), task_id='stops itself')", "task_postrun"),
    "unstorable": ("unstorable.apply_async(('v',), task_id='unstorable')", "task_postrun"),
    "wrong arguments": ("app.send_task('heard.succeed', (1, 2, 3), task_id='wrong arguments')", "task_postrun"),
    "dies": ("dies.apply_async(('v',), task_id='dies')", "task_failure"),
}
RAW: Mapping[str, tuple[dict[str, Any], bytes]] = {
    "no task": ({"id": "no task"}, b'{"a": 1}'),
    "not json": ({"id": "not json", "task": "heard.succeed", "lang": "py"}, b"{no json"),
}


class Stage:
    """One engine on an empty server, with the file that its processes write."""

    def __init__(self, engine: Engine, server: RedisServer, folder: Path) -> None:
        self.engine, self.server, self.folder = engine, server, folder
        self.place = Place(server, 0, folder)
        self.file = folder / "heard.jsonl"
        self.file.touch()

    def environment(self, **more: str) -> dict[str, str]:
        path = [str(PROJECT), *([str(environments.ROOT / "src")] if self.engine.is_sedano else [])]
        return {"STORE": self.server.url_of(0), "HEARD": str(self.file), "PYTHONPATH": os.pathsep.join(path), **more}

    def heard(self) -> list[Record]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def until(self, name: str, task: str | None = None) -> None:
        """Until the signal was heard (of this call)."""
        self.place.until(
            lambda: any(one["signal"] == name and task in (None, one["task"]) for one in self.heard()),
            60,
        )

    def say(self, code: str) -> None:
        """Run `code` in a process of the engine that has the app."""
        environment = self.environment(HEARD_ROLE="caller")
        if self.engine.is_sedano:
            environment["SEDANO_AS_CELERY"] = "1"
        done = subprocess.run(
            [self.engine.python, "-c", f"from heard import *\n{code}"],
            cwd=PROJECT,
            env=environments.clean_environment(environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def worker(self, *options: str, **more: str) -> Node:
        node = self.place.worker(
            self.engine,
            NODE,
            "-Q",
            "heard",
            *options,
            app="heard",
            cwd=PROJECT,
            environment=self.environment(**more),
            concurrency=1,
        )
        return node.wait_ready(120)

    def push(self, headers: dict[str, Any], body: bytes) -> None:
        """A message that no engine would send."""
        envelope = {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "body_encoding": "base64",
                "correlation_id": headers["id"],
                "delivery_info": {"exchange": "", "routing_key": "heard"},
                "delivery_mode": 2,
                "delivery_tag": headers["id"],
                "priority": 0,
                "reply_to": "nobody",
            },
        }
        self.server.command("LPUSH", "heard", json.dumps(envelope))

    def take(self) -> dict[str, list[Record]]:
        """What was heard so far, by call; the file is empty after that."""
        found = self.heard()
        self.file.write_text("")
        if self.engine.is_sedano:
            for record in found:
                move(record)
        return sort_out(found)

    def close(self) -> None:
        self.place.close()


def move(record: Record) -> None:
    """What a child of Sedano hears and the main process of Celery: see docs/differences.md."""
    if record["role"] == "child" and record["signal"] in ELSEWHERE:
        record["role"] = "main"


def sort_out(found: list[Record]) -> dict[str, list[Record]]:
    """Records by call and role of the process, in the order in which they were heard: processes do not wait for each other.
    Those of no call by role, and children one by one."""
    sorted_: dict[str, list[Record]] = {}
    children: list[int] = []
    for record in found:
        pid, task, role = record.pop("pid"), record.pop("task"), record.pop("role")
        if task is not None:
            key = f"{task} ({role})"
        elif role == "child":
            if pid not in children:
                children.append(pid)
            key = f"child {children.index(pid) + 1}"
        else:
            key = role
        sorted_.setdefault(key, []).append(record)
    return sorted_


def stop(node: Node, signum: int) -> None:
    node.signal(signum)
    node.wait(30)


def play_calls(stage: Stage) -> dict[str, list[Record]]:
    """One worker, every kind of call, one after the other, and a warm end."""
    node = stage.worker()
    for name, (code, last) in CALLS.items():
        stage.say(code)
        stage.until(last, name)
    for name, (headers, body) in RAW.items():
        stage.push(headers, body)
        if name == "no task":
            stage.until("task_rejected")
    stage.say("wait.apply_async((60,), task_id='terminated')")
    stage.until("task_prerun", "terminated")
    stage.say("app.control.revoke('terminated', terminate=True)")
    stage.until("task_revoked", "terminated")
    stage.say("succeed.apply_async(('v',), task_id='last')")
    stage.until("task_postrun", "last")
    stop(node, signal.SIGTERM)
    stage.until("worker_shutdown")
    return stage.take()


def play_children(stage: Stage) -> dict[str, list[Record]]:
    """A process for each call, and a cold end."""
    node = stage.worker("--max-tasks-per-child", "1")
    for number in range(2):
        stage.say(f"succeed.apply_async(('v',), task_id='{number}')")
        stage.until("task_postrun", str(number))
    stage.say("wait.apply_async((60,), task_id='cut off')")
    stage.until("task_prerun", "cut off")
    stop(node, signal.SIGQUIT)
    return stage.take()


def play_logging(stage: Stage) -> dict[str, list[Record]]:
    """Somebody takes the logging over, in the pool solo."""
    node = stage.place.worker(
        stage.engine,
        NODE,
        "-P",
        "solo",
        "-Q",
        "heard",
        app="heard",
        cwd=PROJECT,
        environment=stage.environment(HEARD_LOGGING="1"),
    )
    stage.until("worker_ready")
    stage.say("succeed.apply_async(('v',), task_id='success')")
    stage.until("task_postrun", "success")
    stop(node, signal.SIGTERM)
    return stage.take()


def play_eager(stage: Stage) -> dict[str, list[Record]]:
    """`apply` in the caller."""
    for name in ("succeed", "fail", "again", "ignore"):
        stage.say(f"{name}.apply(('v',), task_id='eager {name}')")
    return stage.take()


PLAYS: Mapping[str, Callable[[Stage], dict[str, list[Record]]]] = {
    "calls": play_calls,
    "children": play_children,
    "logging": play_logging,
    "eager": play_eager,
}


def play(name: str, engine: Engine, server: RedisServer, folder: Path) -> dict[str, list[Record]]:
    """What was heard in a play, by call."""
    folder.mkdir(parents=True, exist_ok=True)
    server.command("FLUSHALL")
    stage = Stage(engine, server, folder)
    try:
        return PLAYS[name](stage)
    finally:
        stage.close()
