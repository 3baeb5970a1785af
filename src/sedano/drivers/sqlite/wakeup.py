"""Waking sleepers of other processes: datagram sockets in a private directory of this user.

Whoever waits owns an `Ear`, a bound socket whose address stands in the `listeners` table; whoever has changed something rings
there with a `Bell`, after the commit, and never blocks: a full ear is awake already. The directory is `sedano` in
XDG_RUNTIME_DIR, or `sedano-<uid>` in the directory for temporary files; it must be ours and closed to others. Where there is no
such place, or no such sockets (Windows), one can only look now and then.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import functools
import os
import socket
import stat
import tempfile

MOST_BYTES = 8000
"""Of one datagram: larger ones are not sure to be accepted everywhere."""

_LONGEST_ADDRESS = 100  # the kernel takes 107 bytes
_MOST_SWEPT = 200
_NO_ROOM = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class Rung(enum.Enum):
    HEARD = "heard"
    FULL = "full"  # it has not read what was rung before; awake, but this one it will not hear
    GONE = "gone"  # nobody listens there, or nobody whom this user may wake


class Ear:
    """A socket that can be rung. Belongs to the process that made it."""

    def __init__(self, folder: str) -> None:
        """Raises OSError when it cannot be bound."""
        self.address = os.path.join(folder, f"{os.getpid()}-{os.urandom(4).hex()}.sock")
        self._pid = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(self.address)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> list[bytes]:
        """Everything that was rung since the last call."""
        heard: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(self._socket.recv(65536))
        return heard

    def close(self) -> None:
        self._socket.close()
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self.address)


class Bell:
    """Rings ears. Cheap to make; its socket is opened by the first ring of each process."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._pid = 0

    def ring(self, address: str, what: bytes) -> Rung:
        if not address:
            return Rung.GONE
        rung = self._send(address, what)
        if rung is Rung.FULL:
            # What others have not read yet counts against the sender too: only a fresh socket shows that this ear is full.
            self.close()
            rung = self._send(address, what)
        if rung is Rung.GONE and (folder := runtime_folder()) is not None:
            _remove_dead(address, folder)
        return rung

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def is_gone(address: str) -> bool:
        """Whether nobody listens at `address`, without ringing. Another user's ear may be out of our reach and alive."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(address)
            except (ConnectionRefusedError, FileNotFoundError):
                return True
            except OSError:
                return False
        return False

    def _send(self, address: str, what: bytes) -> Rung:
        if self._socket is None or self._pid != os.getpid():
            self.close()
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._pid = os.getpid()
        try:
            self._socket.sendto(what, address)
        except OSError as error:
            return Rung.FULL if error.errno in _NO_ROOM else Rung.GONE
        return Rung.HEARD


def open_ear() -> Ear | None:
    """A new ear, or None where nobody can be rung."""
    folder = runtime_folder()
    if folder is None:
        return None
    try:
        return Ear(folder)
    except OSError:
        return None


@functools.cache
def runtime_folder() -> str | None:
    """The directory for sockets, made and checked; None when there is no fit one."""
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "getuid"):
        return None
    candidates = [os.path.join(tempfile.gettempdir(), f"sedano-{os.getuid()}"), f"/tmp/sedano-{os.getuid()}"]  # noqa: S108
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        candidates.insert(0, os.path.join(runtime, "sedano"))
    for folder in candidates:
        if len(os.fsencode(folder)) <= _LONGEST_ADDRESS - 20 and _is_private(folder):
            _sweep(folder)
            return folder
    return None


def _is_private(folder: str) -> bool:
    """Make the directory if need be. Another's directory of this name, or an open one, could make others hear our ids."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _sweep(folder: str) -> None:
    """Remove sockets that killed processes left."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder)[:_MOST_SWEPT]:
            if name.endswith(".sock"):
                _remove_dead(os.path.join(folder, name), folder)


def _remove_dead(address: str, folder: str) -> None:
    """Unlink a socket file in `folder` that nobody has bound any more. Addresses come from a database: touch nothing else."""
    if os.path.dirname(address) != folder:
        return
    with contextlib.suppress(OSError):
        if Bell.is_gone(address):
            os.unlink(address)
