"""The file that tells a service manager which process the node is."""

from __future__ import annotations

import os
from pathlib import Path

from sedano.exceptions import SedanoError
from sedano.log import say


class PidfileInUse(SedanoError):
    """Another process that lives is named in the file."""


class Pidfile:
    """`acquire` it before anything else, `release` it at the end."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def acquire(self) -> None:
        """Write our process id. A file that names no living process, or nothing that can be read, is replaced.

        Raises PidfileInUse, OSError.
        """
        while True:
            try:
                fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                self._remove_if_nobodys()
                continue
            with os.fdopen(fd, "w") as file:
                file.write(f"{os.getpid()}\n")
            return

    def release(self) -> None:
        """Remove the file if it is still ours."""
        try:
            if self._path.read_text().strip() == str(os.getpid()):
                self._path.unlink()
        except OSError:
            return

    def _remove_if_nobodys(self) -> None:
        try:
            text = self._path.read_text().strip()
        except FileNotFoundError:
            return
        if not text.isdigit() or text == "0":
            say("Broken pidfile found - Removing it.", error=True)
        elif int(text) != os.getpid():  # ours: a container starts each time with the same one
            if _lives(int(text)):
                raise PidfileInUse(f"Pidfile ({self._path}) already exists.\nSeems we're already running? (pid: {text})")
            say("Stale pidfile exists - Removing it.", error=True)
        self._path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
