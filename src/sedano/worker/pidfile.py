"""The file that tells a service manager which process the node is."""

from __future__ import annotations

import os
from pathlib import Path

from sedano.exceptions import SedanoError


class PidfileInUse(SedanoError):
    """Another process that lives is named in the file."""


class Pidfile:
    """`acquire` it before anything else, `release` it at the end."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def acquire(self) -> None:
        """Write our process id; a file that a dead process left is replaced. Raises PidfileInUse, OSError."""
        try:
            other = int(self._path.read_text().strip() or 0)
        except (FileNotFoundError, ValueError):
            other = 0
        if other and other != os.getpid() and _lives(other):
            raise PidfileInUse(f"Pidfile ({self._path}) already exists. Seems we're already running? (pid: {other})")
        self._path.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Remove the file if it is still ours."""
        try:
            if self._path.read_text().strip() == str(os.getpid()):
                self._path.unlink()
        except OSError:
            return


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
