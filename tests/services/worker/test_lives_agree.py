"""Random lives of calls on a real node: what the cluster state makes of its events is what the results say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import TaskRevokedError

Make = Callable[..., NodeWorld]

LIVES = """
@app.task
def boom(text):
    raise ValueError(text)

@app.task(bind=True)
def again(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.01, max_retries=5)
    return times

@app.task
def ignore():
    from sedano.exceptions import Ignore
    raise Ignore
"""

KINDS = st.one_of(
    st.tuples(st.just("add"), st.integers(-9, 9), st.integers(-9, 9)),
    st.tuples(st.just("boom"), st.text("abc ü'", max_size=9)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["ignore", "expired", "revoked", "later", "killed", "limited"])),
)
LAST = {
    "boom": "FAILURE", "ignore": "STARTED", "expired": "REVOKED", "revoked": "REVOKED",
    "killed": "REVOKED", "limited": "FAILURE",
}  # fmt: skip


@pytest.fixture
def noisy(make_world: Make) -> Iterator[NodeWorld]:
    world = make_world()
    world.write_tasks(more=LIVES)
    world.ready(concurrency=3, options=["-E", "--heartbeat-interval", "0.5"])
    return world


def send(world: NodeWorld, kind: str, arguments: tuple[Any, ...]) -> Any:
    if kind == "expired":
        return world.send("add", 1, 1, expires=-1)
    if kind == "revoked":
        result = world.send("add", 1, 1, countdown=1.0)
        result.revoke()
        return result
    if kind == "later":
        return world.send("add", 1, 1, countdown=0.2)
    if kind == "limited":
        return world.send("hold", "never", time_limit=0.3)
    return world.send("hold" if kind == "killed" else kind, *(("never",) if kind == "killed" else arguments))


@settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(lives=st.lists(KINDS, min_size=5, max_size=25))
def test_given_random_lives_when_all_are_over_then_the_state_says_of_each_what_its_result_says(
    noisy: NodeWorld, store: str, lives: list[tuple[Any, ...]]
) -> None:
    app = noisy.app
    state = app.events.State()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": state.event})
        stream = receiver.itercapture(limit=None, timeout=PATIENCE_S, wakeup=True)

        def until(wanted: Callable[[], bool]) -> None:
            deadline = time.monotonic() + PATIENCE_S
            while not wanted():
                assert time.monotonic() < deadline, [
                    (kind, getattr(state.tasks.get(r.id), "state", "-")) for kind, _, r in results
                ]
                next(stream)  # there is a heartbeat twice a second

        results: list[tuple[str, list[Any], Any]] = []
        until(lambda: "w1@test" in state.workers)
        results = [(kind, arguments, send(noisy, kind, tuple(arguments))) for kind, *arguments in lives]
        for kind, _, result in results:
            if kind == "killed":
                until(lambda result=result: getattr(state.tasks.get(result.id), "state", "") in ("STARTED", "REVOKED"))  # type: ignore[misc]
                result.revoke(terminate=True)
        until(lambda: all(
            getattr(state.tasks.get(result.id), "state", None) == LAST.get(kind, "SUCCESS") for kind, _, result in results
        ))  # fmt: skip
    for kind, arguments, result in results:
        task = state.tasks[result.id]
        assert task.worker.hostname == "w1@test"
        assert task.received is not None
        if kind in ("add", "again", "later"):
            assert task.result == str(result.get(timeout=PATIENCE_S))
            assert task.received <= task.started <= task.succeeded
            assert task.retries == (arguments[0] if kind == "again" else 0)
        elif kind in ("expired", "revoked", "killed"):
            with pytest.raises(TaskRevokedError):
                result.get(timeout=PATIENCE_S)
        elif kind in ("boom", "limited"):
            error = result.get(timeout=PATIENCE_S, propagate=False)
            assert task.exception == repr(error)
    assert state.workers["w1@test"].alive
    assert [worker.hostname for worker in state.alive_workers()] == ["w1@test"]
