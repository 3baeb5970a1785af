"""Our `State` against Celery's: the same events, in whatever order and number they come, make the same picture."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.interop import environments
from tests.interop.eventstates import look

from sedano.events.state import State

pytestmark = pytest.mark.celery

BASE_S = 1_700_000_000.0
WORKERS = ("w1@a", "w2@a", "w3@b")
RECORDINGS = Path(__file__).parent / "recordings"


class Celerys:
    """Celery's State in a process of its own."""

    def __init__(self) -> None:
        python = environments.python_of(environments.celery("5.7"))
        program = str(Path(__file__).parent / "eventstates.py")
        self._process = subprocess.Popen(
            [python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environments.clean_environment({}),
        )  # fmt: skip

    def look(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def celerys() -> Iterator[Celerys]:
    theirs = Celerys()
    yield theirs
    theirs.close()


def ours(asked: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(json.dumps(look(State, asked)))
    return seen


def different(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two pictures differ. Celery lists a task in `indexed` only if its first event named it; ours whenever one does."""
    if path == "/indexed" or mine == theirs:
        return []
    if isinstance(mine, dict) and isinstance(theirs, dict) and mine.keys() == theirs.keys():
        return [line for key in mine for line in different(mine[key], theirs[key], f"{path}/{key}")]
    return [f"{path}: ours {mine!r}, Celery's {theirs!r}"]


# -- lives of calls -------------------------------------------------------------------------------------------------------

RECEIVED: dict[str, Any] = {"name": "proj.add", "args": "(2, 3)", "kwargs": "{}", "retries": 0, "eta": None, "expires": None}
ENDS: dict[str, dict[str, Any]] = {
    "succeeded": {"result": "5", "runtime": 0.25},
    "failed": {"exception": "ValueError('x')", "traceback": "Traceback ..."},
    "retried": {"exception": "KeyError('y')", "traceback": "Traceback ..."},
    "revoked": {"terminated": True, "signum": 15, "expired": False},
    "rejected": {"requeue": False},
    "cancelled": {},
    "progress": {"percent": 50},
}


@st.composite
def lives(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What a cluster said, in the order in which it happened: calls that go over several workers, and the workers' own."""
    events: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 4))):
        uuid = f"id-{number}"
        parent = draw(st.sampled_from([None, *(f"id-{other}" for other in range(4) if other != number)]))
        family = {"parent_id": parent, "root_id": parent or uuid}
        received = {**RECEIVED, "name": draw(st.sampled_from(["proj.add", "proj.mul"])), **family}
        if draw(st.booleans()):
            sent = {**received, "queue": "celery", "exchange": "", "routing_key": "celery"}
            events.append({"type": "task-sent", "uuid": uuid, "hostname": "gen1@client", **sent})
        for attempt in range(draw(st.integers(0, 3))):
            worker = draw(st.sampled_from(WORKERS))
            events.append({"type": "task-received", "uuid": uuid, "hostname": worker, **received, "retries": attempt})
            events.append({"type": "task-started", "uuid": uuid, "hostname": worker})
            ends = draw(st.lists(st.sampled_from(sorted(ENDS)), max_size=2))
            events += [{"type": f"task-{end}", "uuid": uuid, "hostname": worker, **ENDS[end]} for end in ends]
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["online", "heartbeat", "heartbeat", "offline", "elect"]))
        numbers = {
            "freq": 2.0,
            "active": draw(st.integers(0, 3)),
            "processed": draw(st.integers(0, 9)),
            "loadavg": [0.5, 0.25, 1.0],
        }
        versions = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux"}
        place = draw(st.integers(0, len(events)))
        events.insert(place, {"type": f"worker-{kind}", "hostname": draw(st.sampled_from(WORKERS)), **numbers, **versions})
    if draw(st.booleans()):
        events.insert(0, {"type": "custom-thing", "hostname": "gen2@client", "what": "else"})
    for place, event in enumerate(events):
        moment = BASE_S + place + draw(st.sampled_from([0.0, 0.25, -2.0]))
        clock = draw(st.sampled_from([place + 1, place + 1, place // 2, 0, None]))
        event.update(timestamp=moment, clock=clock, pid=7, utcoffset=0.0)
    return events


@st.composite
def as_heard(draw: st.DrawFn) -> dict[str, Any]:
    """The same, shuffled, with some twice and some missing."""
    happened = draw(lives())
    order = draw(st.sampled_from(["kept", "shuffled", "nearly"]))
    if order == "shuffled":
        happened = draw(st.permutations(happened))
    heard: list[dict[str, Any]] = []
    for event in happened:
        heard += [event] * draw(st.sampled_from([1, 1, 1, 1, 2, 0]))
    if order == "nearly" and len(heard) > 1:
        place = draw(st.integers(0, len(heard) - 2))
        heard[place], heard[place + 1] = heard[place + 1], heard[place]
    heard = [{**event, "local_received": BASE_S + place + 0.5} for place, event in enumerate(heard)]
    limits = draw(st.sampled_from([{}, {}, {"max_tasks_in_memory": 2}, {"max_workers_in_memory": 2}]))
    return {"events": heard, "limits": limits, "leaving": draw(st.booleans())}


@given(as_heard())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_given_any_events_when_both_hear_them_then_they_know_the_same(celerys: Celerys, asked: dict[str, Any]) -> None:
    theirs = celerys.look(asked)
    mine = ours(asked)
    assert different(mine, theirs) == []
    for name, uuids in theirs["indexed"].items():
        assert set(uuids) & set(mine["kept"]) <= set(mine["indexed"][name])


def test_given_the_events_that_celery_recorded_when_both_hear_them_then_they_know_the_same(celerys: Celerys) -> None:
    vectors = json.loads((RECORDINGS / "events-redis.json").read_text())["vectors"]
    events = [
        {**event, "local_received": event["timestamp"] + 0.01}
        for vector in vectors
        if "message" in vector
        for event in (vector["message"]["body"] if isinstance(vector["message"]["body"], list) else [vector["message"]["body"]])
    ]
    assert len(events) > 20
    # Celery's State ends on worker-elect: its `id` would replace an attribute that cannot be set.
    assert ours({"events": events})["workers"]["w1@node1"]["id"] == "w1@node1.30109"
    asked = {"events": [event for event in events if not event["type"].startswith("worker-elect")]}
    mine, theirs = ours(asked), celerys.look(asked)
    assert different(mine, theirs) == []
    assert {task["state"] for task in mine["tasks"].values()} > {"SUCCESS", "FAILURE"}
