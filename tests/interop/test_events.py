"""Events between Celery's programs and ours, on Redis: each hears the other, and `events --dump` writes the same lines."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.interop import environments
from tests.interop.peers import PROJECT, Engine, Place, engine

from sedano import Celery
from sedano.events.state import State

pytestmark = [pytest.mark.redis, pytest.mark.celery]

RECORDINGS = Path(__file__).parent / "recordings"
PATIENCE_S = 60.0


@pytest.fixture
def app(place: Place) -> Iterator[Celery]:
    app = Celery("here", broker=place.server.url_of(0), backend=place.server.url_of(0), set_as_current=False)
    yield app
    app.close()


class Dump:
    """`events --dump` of an engine, hearing from the return of the constructor on."""

    def __init__(self, of: Engine, place: Place, app: Celery) -> None:
        self._file = place.folder / f"dump-{of.name}"
        with self._file.open("w") as out:
            self._process = subprocess.Popen(
                [of.python, *of.command, "-A", "calc", "events", "--dump"],
                cwd=PROJECT,
                env=environments.clean_environment(place.environment()),
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
        try:
            self._be_heard(app)
        except BaseException:
            self.close()
            raise

    def _be_heard(self, app: Celery) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while "probe" not in self._file.read_text():
            assert time.monotonic() < deadline
            with app.events.default_dispatcher() as dispatcher:
                dispatcher.send("probe")
            time.sleep(0.05)

    def lines(self, until: str) -> list[str]:
        """What was written, up to the line that holds `until`; without probes and what each receiver adds by itself."""
        deadline = time.monotonic() + PATIENCE_S
        while until not in self._file.read_text():
            assert time.monotonic() < deadline, self._file.read_text()
            time.sleep(0.02)
        # A traceback fills lines of its own.
        text = re.sub(r"local_received=[\d.]+", "local_received=…", self._file.read_text())
        text = re.sub(r"(task sent: .* )clock=\d+", r"\1clock=…", text)
        return [line for line in text.splitlines() if "] probe" not in line]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)


def test_given_events_of_both_when_dumped_by_celery_and_by_us_then_the_lines_are_the_same(place: Place, app: Celery) -> None:
    with (
        closing(Dump(engine("celery5.7"), place, app)) as theirs,
        closing(Dump(engine("sedano"), place, app)) as ours,
    ):
        vectors = json.loads((RECORDINGS / "events-redis.json").read_text())["vectors"]
        for vector in vectors:
            if "message" in vector:
                place.redis.publish(vector["message"]["channel"], vector["message"]["raw"])
        with app.events.default_dispatcher(hostname="me@here") as dispatcher:
            dispatcher.send(type="custom-task-started", step=1, what="ünïcode", nothing=None)
            dispatcher.send("task-progress", uuid="not-seen-before", percent=50)
            dispatcher.send("my_custom_event")
            dispatcher.send("the-end")
        one, other = theirs.lines("the end"), ours.lines("the end")
    assert one == other
    assert len(one) > len(vectors)
    assert one[0] == "-> evdump: starting capture..."
    assert any("me@here [" in line and "custom task started:" in line and "what=ünïcode" in line for line in one)


@pytest.mark.parametrize("version", ["5.7", pytest.param("5.4", marks=pytest.mark.long)])
def test_given_a_celery_worker_with_events_when_it_works_then_our_receiver_and_state_follow_it(
    place: Place, app: Celery, version: str
) -> None:
    theirs = engine(f"celery{version}")
    place.ready(theirs, "w1@celery", "-E")
    place.until_heard("w1@celery")
    app.conf.task_send_sent_event = True
    state: State = app.events.State()
    asked: list[str] = []
    heard: list[dict[str, Any]] = []

    def note(event: dict[str, Any]) -> None:
        state.event(event)
        heard.append(event)
        if event["type"].startswith("worker-") and not asked:  # the heartbeat that the receiver asked for
            asked.append(app.send_task("calc.add", (2, 3)).id)
        if event["type"] == "task-succeeded":
            receiver.should_stop = True

    receiver = app.events.Receiver(app.connection(), handlers={"*": note})
    receiver.capture(timeout=PATIENCE_S)
    (task_id,) = asked
    task = state.tasks[task_id]
    assert (task.name, task.state, task.args, task.result) == ("calc.add", "SUCCESS", "(2, 3)", "5")
    assert task.worker is not None
    assert (task.worker.hostname, task.worker.alive) == ("w1@celery", True)
    assert task.client is not None
    assert [event["type"] for event in heard if event.get("uuid") == task_id][-3:] == [
        "task-received", "task-started", "task-succeeded",
    ]  # fmt: skip
    assert task.sent is not None
