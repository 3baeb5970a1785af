"""The client of a cell: it sends a mixture of calls until it is told to stop, and never lets the queue grow long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.faults.arena import Arena
from tests.faults.producer import Producer

SLOW_S = 0.02


class Progress:
    """How many first attempts have ended so far, by the ledger's file; reads only what is new."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._ended, self._rest = path, 0, 0, b""
        self._lock = threading.Lock()

    @property
    def ended(self) -> int:
        with self._lock:
            if self._path.exists():
                with self._path.open("rb") as file:
                    file.seek(self._read)
                    new = file.read()
                self._read += len(new)
                *lines, self._rest = (self._rest + new).split(b"\n")
                self._ended += sum(line.startswith(b"end ") and b":0 " in line for line in lines)
            return self._ended


class Load(Producer):
    """Calls of 0 to 7 times `step_s`; every seventh is retried once, every ninth comes due later. After `wanted` it goes on
    slowly."""

    def __init__(self, run: Arena, progress: Progress, wanted: int, step_s: float = 0.001) -> None:
        super().__init__(run, pause_s=0.0005)
        self._progress, self._wanted, self._step_s = progress, wanted, step_s
        self._number = 0
        self.most_waiting = 250
        self.due: dict[str, float] = {}  # id -> monotonic time from which on it may start
        self._may_send = threading.Event()
        self._may_send.set()

    def hold(self) -> None:
        """Send nothing until `go_on`."""
        self._may_send.clear()
        time.sleep(0.1)  # the call that is being sent

    def go_on(self) -> None:
        self._may_send.set()

    def one(self) -> str:
        self._may_send.wait()
        self._number += 1
        number = self._number
        if number % 16 == 0:
            self._hold_back()
        if number > self._wanted:
            time.sleep(SLOW_S)
        delay_s = 0.3 if number % 9 == 0 else 0.0
        options = {"countdown": delay_s} if delay_s else {}
        if number % 7 == 0:
            task_id = self._run.send("again", retry=False, **options)
        else:
            task_id = self._run.send("work", self._step_s * (number % 8), retry=False, **options)
        self.due[task_id] = time.monotonic() + delay_s
        return task_id

    def _hold_back(self) -> None:
        """Wait while much is waiting, unless nothing ends for a second: then the store or the nodes are broken just now."""
        ended, moved_at = self._progress.ended, time.monotonic()
        while len(self.accepted) - ended > self.most_waiting and time.monotonic() < moved_at + 1.0 and not self._over.is_set():
            time.sleep(0.02)  # other processes write the ledger: it can only be read again
            if (now := self._progress.ended) != ended:
                ended, moved_at = now, time.monotonic()

    @property
    def is_done(self) -> bool:
        return len(self.accepted) >= self._wanted
