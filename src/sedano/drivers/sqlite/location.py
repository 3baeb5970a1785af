"""Where a store lies and how it is opened, out of its URL; and which file systems cannot carry one.

sqlite:///relative.db        beside the current directory      ?synchronous=FULL   survive a power loss, not only kill -9
sqlite:////absolute/path.db                                    ?busy_timeout=10    seconds to wait for other writers
                                                               ?max_bytes=...      the file grows no further
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from sedano.exceptions import ImproperlyConfigured
from sedano.nearest import nearest

SCHEMES = ("sqlite",)
BUSY_TIMEOUT_S = 10.0

_PARAMETERS = ("busy_timeout", "max_bytes", "synchronous")
_MOST_BUSY_TIMEOUT_S = 600.0
_EXAMPLE = "Write sqlite:///relative.db or sqlite:////absolute/path.db."
_IN_MEMORY = (
    "a SQLite database in memory belongs to one connection and carries no queue between processes. "
    "Use memory:// for one process, or give a file: sqlite:////absolute/path.db"
)
_MOUNTS = "/proc/self/mountinfo"
_NETWORK = re.compile(
    r"(nfs\d*|cifs|smb\d*|smbfs|ncpfs|afs|coda|ceph|9p|lustre|gpfs|beegfs|glusterfs|davfs|vboxsf|prl_fs|drvfs"
    r"|fuse\.(sshfs|glusterfs|ceph|s3fs|s3ql|rclone|gcsfuse|goofys|mount-s3|davfs|juicefs|smbnetfs|curlftpfs|vmhgfs-fuse|moosefs))"
)


class Location(msgspec.Struct, frozen=True):
    """`path` is absolute, without symbolic links. `max_bytes` None: as large as the disk allows."""

    path: str
    synchronous: str = "NORMAL"
    busy_timeout_s: float = BUSY_TIMEOUT_S
    max_bytes: int | None = None

    def check(self) -> None:
        """Raise `ImproperlyConfigured` when no store can lie here."""
        folder = os.path.dirname(self.path)
        if not os.path.isdir(folder):
            raise ImproperlyConfigured(
                f"the store {self.path} cannot be made: there is no directory {folder}. Create it first."
            )
        if os.path.isdir(self.path):
            raise ImproperlyConfigured(
                f"the store {self.path} is a directory: name a file in it, such as {self.path}/sedano.db"
            )
        kind = network_filesystem(self.path, _read_mounts())
        if kind is not None:
            raise ImproperlyConfigured(
                f"the store {self.path} lies on a network file system ({kind}), where SQLite's locks and shared memory do not "
                "work and messages would be lost. Put it on a local disk, or use redis:// for several machines."
            )


def locate(url: str) -> Location:
    """Take `url` apart. Raises `ImproperlyConfigured` saying which part is wrong; touches no file."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ImproperlyConfigured(f"{url!r} is no URL of a SQLite store. {_EXAMPLE}")
    parts = urlsplit(url)
    if parts.netloc:
        raise ImproperlyConfigured(f"{url!r} names a host, {parts.netloc!r}: a SQLite store is a file. {_EXAMPLE}")
    if parts.fragment:
        raise ImproperlyConfigured(f"{url!r}: write the # of a file name as %23.")
    name = unquote(parts.path.removeprefix("/"))
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not name or ":memory:" in name or parameters.get("mode") == "memory":
        raise ImproperlyConfigured(f"{url!r}: {_IN_MEMORY}")
    if "\0" in name:
        raise ImproperlyConfigured(f"{url!r}: a file name has no zero byte.")
    for given in parameters:
        _check_known(url, given)
    return Location(
        os.path.realpath(name),
        _synchronous(url, parameters.get("synchronous", "NORMAL")),
        _number(url, "busy_timeout", parameters.get("busy_timeout"), most=_MOST_BUSY_TIMEOUT_S) or BUSY_TIMEOUT_S,
        _max_bytes(url, parameters.get("max_bytes")),
    )


def network_filesystem(path: str, mounts: str) -> str | None:
    """The type of the network file system that holds `path` by the lines of mountinfo, None for a local one."""
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, kind = point, right.split(" ")[0]
    return kind if _NETWORK.fullmatch(kind) else None


def _read_mounts() -> str:
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
            return mounts.read()
    except OSError:
        return ""  # not Linux: nothing to go by


def _check_known(url: str, given: str) -> None:
    if given in _PARAMETERS:
        return
    near = nearest(given, _PARAMETERS)
    hint = f"Did you mean {near}?" if near else f"There are: {', '.join(_PARAMETERS)}."
    raise ImproperlyConfigured(f"{url!r}: unknown parameter {given!r}. {hint}")


def _synchronous(url: str, value: str) -> str:
    if value.upper() not in ("NORMAL", "FULL"):
        raise ImproperlyConfigured(
            f"{url!r}: synchronous={value} is not offered. NORMAL (the default) survives kill -9, FULL a power loss too."
        )
    return value.upper()


def _number(url: str, name: str, value: str | None, *, most: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= most:
        raise ImproperlyConfigured(f"{url!r}: {name}={value} is no number of seconds above 0 and up to {most:g}.")
    return number


def _max_bytes(url: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1 << 20:
        raise ImproperlyConfigured(f"{url!r}: max_bytes={value} is no number of bytes from {1 << 20} on.")
    return int(value)
