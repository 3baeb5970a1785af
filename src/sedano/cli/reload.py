"""`sedano worker --reload`, for development: the same command in a child, started again when a source file changes.

A change ends the child as SIGTERM does: what runs is finished, what was reserved goes back. A child that ends by itself with an
error, such as one of the user's syntax, is started again at the next change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import click

POLL_S = 0.5
_MARK = "SEDANO_RELOADED_BY"
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}

Snapshot = Mapping[str, tuple[int, int]]


def is_reloaded() -> bool:
    """Whether this process is the child of a watcher."""
    return os.environ.get(_MARK) == str(os.getppid())


def snapshot(folder: Path) -> Snapshot:
    """Path -> (mtime in ns, bytes) of all Python sources below `folder`, without hidden folders and virtual environments."""
    found: dict[str, tuple[int, int]] = {}
    for here, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not Path(here, name, "pyvenv.cfg").exists()
        ]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(here, name)
                try:
                    status = os.stat(path)
                except OSError:  # gone while we looked
                    continue
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


def changes(old: Snapshot, new: Snapshot) -> list[str]:
    """Paths that are new, gone or different, sorted."""
    return sorted(path for path in {*old, *new} if old.get(path) != new.get(path))


def run_reloading(folder: Path, started_in: str, say: Callable[[str], None]) -> int:
    """Be the watcher of `folder` until the child is stopped; its exit code. `started_in` is where the command was typed."""
    if os.name == "nt":
        raise click.UsageError("--reload needs a system with POSIX signals")
    return _Watcher([sys.executable, *sys.orig_argv[1:]], folder, started_in, say).run()


class _Watcher:
    def __init__(self, command: Sequence[str], folder: Path, cwd: str, say: Callable[[str], None]) -> None:
        self._command, self._folder, self._cwd, self._say = command, folder, cwd, say
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._forward)
        begin = seen = snapshot(self._folder)
        while True:
            code, now = self._live(seen)
            if self._stopping:
                return max(code, 0)
            if code == 0 or (code == _WRONG and seen is begin):
                return code
            if code != _CHANGED:
                self._say(f"Reload: the worker ended with {code}; it starts again when a source file changes.")
                changed = self._wait_for_change(now)
                if changed is None:
                    return code
                now = changed
            seen = now

    def _live(self, seen: Snapshot) -> tuple[int, Snapshot]:
        """One child's life: (its exit code, or _CHANGED when it was ended for a change; what the sources were then)."""
        # In a group of its own: Ctrl+C reaches the child once, through us.
        self._child = subprocess.Popen(
            self._command, cwd=self._cwd, env={**os.environ, _MARK: str(os.getpid())}, process_group=0
        )
        changed = False
        while True:
            try:
                code = self._child.wait(POLL_S)
            except subprocess.TimeoutExpired:
                now = snapshot(self._folder)
                if not changed and not self._stopping and (names := changes(seen, now)):
                    self._say(f"Reload: {', '.join(os.path.relpath(name, self._folder) for name in names[:3])} changed.")
                    changed = True
                    self._child.terminate()
                seen = now
                continue
            return (_CHANGED if changed else code), seen

    def _wait_for_change(self, seen: Snapshot) -> Snapshot | None:
        """What the sources are after the next change; None when it is to stop."""
        while not self._stopping:
            time.sleep(POLL_S)
            now = snapshot(self._folder)
            if changes(seen, now):
                return now
        return None

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = self._stopping or number != signal.SIGHUP
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


_CHANGED = -1000  # no exit code
_WRONG = 2  # its command line cannot be, or its app cannot be imported: later on that is the work of the one who edits
