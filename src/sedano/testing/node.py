"""A real worker in processes of its own, for tests that break it: started, read, signalled, ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from sedano.testing.faults import without_crashes


class NodeError(AssertionError):
    """The node did not do what the test waits for; the message holds its log."""


class Node:
    """`sedano -A APP worker` with what a test needs to know of it. A context manager: started at entry, gone at exit.

    `app` is what `-A` takes, `cwd` where it is importable; `concurrency` None leaves it to the settings. `environment` is added
    to the test's own, from which armed crash points are taken out. The worker's log is kept in `lines` as it comes.
    """

    def __init__(
        self,
        app: str,
        *,
        cwd: Path,
        name: str = "node@test",
        concurrency: int | None = 2,
        loglevel: str = "INFO",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        size = [] if concurrency is None else ["-c", str(concurrency)]
        worker = ["worker", "-n", name, *size, "-l", loglevel, *options]
        self._command = [*(command or [sys.executable, "-m", "sedano"]), "-A", app, *worker]
        self._cwd = cwd
        self._environment = {**without_crashes(), **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self.lines: list[str] = []

    # -- life -----------------------------------------------------------------------------------------------------------

    def start(self) -> Node:
        """Start it; does not wait. In a session of its own, so that signals to the test's group do not reach it."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def process(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        return self._process

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def wait_ready(self, timeout_s: float = 60) -> Node:
        self.wait_for_line(rf"{re.escape(self.name)} ready\.", timeout_s)
        return self

    def wait_for_line(self, pattern: str, timeout_s: float = 60) -> str:
        """The first log line that matches; raises NodeError when it does not come in time or the node has ended."""
        return self.wait_for_lines(pattern, 1, timeout_s)[0]

    def wait_for_lines(self, pattern: str, count: int, timeout_s: float = 60) -> list[str]:
        """The first `count` log lines that match; raises NodeError as `wait_for_line`."""
        wanted, deadline, seen, found = re.compile(pattern), time.monotonic() + timeout_s, 0, list[str]()
        with self._changed:
            while True:
                found += [line for line in self.lines[seen:] if wanted.search(line)]
                if len(found) >= count:
                    return found[:count]
                seen = len(self.lines)
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None and self._reader is not None and not self._reader.is_alive()
                if left <= 0 or ended:
                    why = f"it ended with {self.process.returncode}" if ended else f"not within {timeout_s:g} s"
                    raise NodeError(
                        f"{self.name}: {len(found)} of {count} lines match {pattern!r} ({why}); its log:\n{self.log()}"
                    )
                self._changed.wait(min(left, 0.2))

    def log(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    # -- processes ------------------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Process ids: the supervisor first, then everything below it (template, slots)."""
        return _tree(self.pid)

    def template(self) -> int:
        """The template: the supervisor's child that has children of its own, or will have."""
        found = [pid for pid in _children(self.pid) if _children(pid)]
        if not found:
            raise NodeError(f"{self.name} has no template with slots; its log:\n{self.log()}")
        return found[0]

    def slots(self) -> list[int]:
        return _children(self.template())

    def signal(self, number: int) -> None:
        """Signal the supervisor."""
        self.process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Signal every process of the node, the supervisor first."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self) -> None:
        """Stop every process where it stands, as when a machine is suspended. `resume` wakes them."""
        self.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9 for the whole node at once, as when a machine loses power."""
        self.signal_all(signal.SIGKILL)
        self.wait(60)

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for its end; returns the exit code (negative: the signal that killed it)."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise NodeError(f"{self.name} still runs after {timeout_s:g} s; its log:\n{self.log()}") from None
        self._close_pipe()
        return code

    def _close_pipe(self) -> None:
        if self._reader is not None:
            self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self, timeout_s: float = 60) -> int:
        """TERM and wait; returns the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def __enter__(self) -> Node:
        """Start it, unless it runs already."""
        return self.start() if self._process is None else self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del kind, error, trace
        if self._process is None:
            return
        below = _tree(self.pid) if self._process.poll() is None else []
        with contextlib.suppress(NodeError):
            self.stop(15)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._close_pipe()


def _children(pid: int) -> list[int]:
    """Children of `pid`, by the process table of Linux; none of a process that has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found.extend(int(word) for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return sorted(found)


def _tree(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        here = waiting.pop(0)
        found.append(here)
        waiting.extend(_children(here))
    return found
