"""What really ran, recorded outside every store, and the verdict over a run.

Tasks write a line when they start and one when they end, each with one `write` to a file opened for appending: it survives
kill -9 of the writer, and lines of several processes do not mix.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sedano import states


@dataclass(frozen=True)
class Entry:
    """One line: "start" or "end", of which call, by which process, when (monotonic seconds of this machine)."""

    event: str
    task_id: str
    pid: int
    at: float


class Ledger:
    """The file of a run. Cheap to make again in every process from its path."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def start(self, task_id: str) -> None:
        self._write("start", task_id)

    def end(self, task_id: str) -> None:
        self._write("end", task_id)

    def _write(self, event: str, task_id: str) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{event} {task_id} {os.getpid()} {time.monotonic()}\n".encode())
        finally:
            os.close(file)

    def entries(self) -> list[Entry]:
        if not self.path.exists():
            return []
        found: list[Entry] = []
        for line in self.path.read_text().splitlines():
            event, task_id, pid, at = line.split()
            found.append(Entry(event, task_id, int(pid), float(at)))
        return found

    def knows(self, pid: int) -> bool:
        """Whether this process has written a line."""
        return self.path.exists() and f" {pid} ".encode() in self.path.read_bytes()

    def starts(self) -> Counter[str]:
        return Counter(entry.task_id for entry in self.entries() if entry.event == "start")

    def ends(self) -> Counter[str]:
        return Counter(entry.task_id for entry in self.entries() if entry.event == "end")


@dataclass(frozen=True)
class Verdict:
    """What became of the calls of a run.

    `stuck`: no final state in time. `lost`: a final state SUCCESS though nothing ended, or no trace in the ledger and no
    recorded loss. `repeated`: started more than once. `recorded_lost`: FAILURE by `WorkerLostError`, an outcome, not a loss.
    `interrupted`: started and not ended by somebody: proof that a kill landed while a call ran.
    """

    calls: int
    stuck: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    recorded_lost: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.calls} calls: lost {len(self.lost)}, stuck {len(self.stuck)}, repeated {len(self.repeated)}, "
            f"recorded lost {len(self.recorded_lost)}, interrupted {len(self.interrupted)}"
        )


def judge(
    ledger: Ledger,
    calls: Iterable[str],
    outcomes: Mapping[str, tuple[str, str | None]],
    attempts: Callable[[str], Iterable[str]] = lambda task_id: (task_id,),
) -> Verdict:
    """The verdict over `calls` (ids). `outcomes`: id -> (state, name of the exception's class or None). `attempts`: the names
    under which the attempts of a call stand in the ledger, where each has one of its own."""
    starts, ends = ledger.starts(), ledger.ends()
    ids = list(calls)
    verdict = Verdict(len(ids))
    for task_id in ids:
        state, error = outcomes.get(task_id, (states.PENDING, None))
        names = list(attempts(task_id))
        if state not in states.READY_STATES:
            verdict.stuck.append(task_id)
        elif state == states.SUCCESS and not any(ends[name] for name in names):
            verdict.lost.append(task_id)
        elif state == states.FAILURE and error == "WorkerLostError":
            verdict.recorded_lost.append(task_id)
        if any(starts[name] > 1 for name in names):
            verdict.repeated.append(task_id)
        if any(starts[name] > ends[name] for name in names):
            verdict.interrupted.append(task_id)
    return verdict
