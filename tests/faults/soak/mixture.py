"""What a soak sends, and what must become of each call. Knows only the calls that are under way: it must not grow itself."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sedano import Sedano, states

LARGE_BYTES = 100_000
KEPT_S = 30.0  # how long a call that is done is watched for a second start


@dataclass(frozen=True)
class Kind:
    """`share` of all calls; `error` is what the task raises, `delay_s` its countdown."""

    task: str
    share: float
    arguments: tuple[Any, ...] = ()
    delay_s: float = 0.0
    error: str | None = None

    @property
    def is_late(self) -> bool:
        return self.task.endswith("_late")


SHORT = [
    Kind("work", 30, (0.002,)),
    Kind("work", 10, (0.05,)),
    Kind("work", 10, (0.001,), delay_s=2.0),
    Kind("again", 12),
    Kind("fail", 8, error="ValueError"),
    Kind("large", 8, (LARGE_BYTES,)),
]
LONG = [Kind("work", 1.5, (1.5,)), Kind("work", 0.5, (4.0,))]
KINDS = [
    Kind(kind.task + end, kind.share, kind.arguments, kind.delay_s, kind.error)
    for kind in SHORT + LONG
    for end in ("", "_late")
]


@dataclass(frozen=True)
class Sent:
    task_id: str
    kind: Kind
    at: float


class Runs:
    """Starts and ends of the ledger, read as they come; what is over is forgotten."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._rest = path, 0, b""
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            event, key, _ = line.decode().split(" ", 2)
            (self.starts if event == "start" else self.ends)[key] += 1

    def forget(self, key: str) -> None:
        del self.starts[key], self.ends[key]


@dataclass
class Tally:
    """What became of all calls so far. `wrong` says of the first ones what was wrong with them."""

    sent: int = 0
    done: int = 0
    lost: int = 0
    repeated: int = 0
    stuck: int = 0
    recorded: int = 0
    again: int = 0
    interrupted: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.repeated or self.stuck) and self.done == self.sent

    def __str__(self) -> str:
        return (
            f"{self.sent:,} calls, {self.done:,} done; lost {self.lost}, repeated {self.repeated}, stuck {self.stuck}; "
            f"recorded as lost {self.recorded}, late ack run again {self.again}, interrupted {self.interrupted}"
        )

    def blame(self, sent: Sent, what: str) -> None:
        if len(self.wrong) < 20:
            self.wrong.append(f"{sent.task_id} {sent.kind.task}: {what}")


class Mixture:
    """Sends calls and looks at what became of them; `waiting` are those without an outcome."""

    def __init__(self, app: Sedano, ledger: Path, seed: int) -> None:
        self._app = app
        self._random = random.Random(seed)
        self._over: deque[tuple[float, Sent]] = deque()
        self.runs = Runs(ledger)
        self.waiting: dict[str, Sent] = {}
        self.tally = Tally()

    def send(self, count: int) -> None:
        for kind in self._random.choices(KINDS, [kind.share for kind in KINDS], k=count):
            countdown = kind.delay_s or None
            task_id = self._app.send_task(f"faulty.{kind.task}", args=kind.arguments, countdown=countdown).id
            self.waiting[task_id] = Sent(task_id, kind, time.monotonic())
            self.tally.sent += 1

    def look(self) -> None:
        """Take the outcomes that are there."""
        self.runs.read()
        for sent in list(self.waiting.values()):
            is_old = time.monotonic() > sent.at + 3.0
            if not is_old and not self.runs.ends[f"{sent.task_id}:0"]:
                continue
            result = self._app.AsyncResult(sent.task_id)
            if (state := result.state) not in states.READY_STATES:
                continue
            value = result.result
            result.forget()
            self.runs.read()
            del self.waiting[sent.task_id]
            self._over.append((time.monotonic(), sent))
            self._judge(sent, state, value)
        self._close_old()

    def _judge(self, sent: Sent, state: str, value: object) -> None:
        kind, error = sent.kind, type(value).__name__ if isinstance(value, BaseException) else None
        self.tally.done += 1
        ended = any(self.runs.ends[f"{sent.task_id}:{retry}"] for retry in (0, 1))
        if error == "WorkerLostError" and not kind.is_late:
            self.tally.recorded += 1
        elif error != kind.error or not ended:
            self.tally.lost += 1
            self.tally.blame(sent, f"{state} {value!r:.200}, ended: {ended}")
        elif kind.task.startswith("large") and value != "x" * LARGE_BYTES:
            self.tally.lost += 1
            self.tally.blame(sent, "its result is not what it returned")

    def _close_old(self, everything: bool = False) -> None:
        """Of calls that are done for a while: how often they started. Then forget them."""
        while self._over and (everything or self._over[0][0] < time.monotonic() - KEPT_S):
            _, sent = self._over.popleft()
            keys = [f"{sent.task_id}:{retry}" for retry in (0, 1)]
            repeated = any(self.runs.starts[key] > 1 for key in keys)
            self.tally.interrupted += any(self.runs.starts[key] > self.runs.ends[key] for key in keys)
            if repeated and sent.kind.is_late:
                self.tally.again += 1
            elif repeated:
                self.tally.repeated += 1
                self.tally.blame(sent, f"started {[self.runs.starts[key] for key in keys]} times")
            for key in keys:
                self.runs.forget(key)

    def close(self) -> Tally:
        """The tally over all calls; what still waits is stuck."""
        self.runs.read()
        self._close_old(everything=True)
        self.tally.stuck = len(self.waiting)
        for sent in self.waiting.values():
            self.tally.blame(sent, f"no outcome after {time.monotonic() - sent.at:.0f} s")
        return self.tally
