"""A program of its own in the background: detached from the terminal, with another user, group and file mode mask.

`detach` leaves three processes: the one that the user started, which waits; a middle one, which leads the new session and ends
at once; and the one that goes on, which can never get a terminal again. The first one ends when the last one has `settle`d, or
with its exit code when it could not: what is wrong with an app, a pidfile or a log file is said at the terminal.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from typing import Any, NoReturn

import click

_SETTLED = b"settled"
# Holds the process id of a detached process: a restart by SIGHUP runs the same command line again, under the same id.
_DETACHED = "SEDANO_DETACHED"


class Detached:
    """The far side of `detach`. `told` is the pipe on which the first process waits, None after a restart."""

    def __init__(self, told: int | None) -> None:
        self._told = told
        self.settled = False

    def settle(self) -> None:
        """Let go of the terminal, and of whoever waits there. Once."""
        self.settled = True
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        for fd in (0, 1, 2):
            os.dup2(quiet, fd)
        os.close(quiet)
        if self._told is not None:
            with contextlib.suppress(BrokenPipeError):  # nobody waits any more
                os.write(self._told, _SETTLED)
            os.close(self._told)
            self._told = None

    def failed(self, code: int) -> None:
        """Hand the exit code to whoever waits; nothing after `settle`."""
        if self._told is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._told, str(code).encode())  # who waits leaves at the end of file, when all is said
            self._told = None


def detach() -> Detached:
    """Go on in the background; returns there only. Raises click.UsageError where that cannot be."""
    if not hasattr(os, "fork"):
        raise click.UsageError("This platform does not support detach.")
    if os.environ.get(_DETACHED) == str(os.getpid()):
        return Detached(None)
    if threading.active_count() > 1:
        raise click.UsageError("--detach: this process runs threads already, which would not come along; start it from a shell")
    hears, tells = os.pipe()
    if os.fork() > 0:
        os.close(tells)
        _wait_and_leave(hears)
    os.close(hears)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    os.environ[_DETACHED] = str(os.getpid())
    return Detached(tells)


def _wait_and_leave(hears: int) -> NoReturn:
    said = b""
    with contextlib.suppress(KeyboardInterrupt):
        while part := os.read(hears, 64):
            said += part
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0 if said == _SETTLED else int(said or 1))


# -- who it runs as ---------------------------------------------------------------------------------------------------------


def set_umask(mask: str | int) -> None:
    """As Celery reads it: text with a leading 0 is octal, other text decimal. Raises click.UsageError."""
    try:
        number = mask if isinstance(mask, int) else int(mask, 8 if mask.startswith("0") else 10)
    except ValueError:
        raise click.UsageError(f"--umask {mask!r} is no number: write it in octal with a leading 0, such as 022") from None
    os.umask(number)


def become(uid: str | int | None, gid: str | int | None) -> None:
    """Change to this user and group for good, each by name or number; without a group, to the user's own.

    Nothing happens when the process runs as both already. Raises click.UsageError for names that there are none of, and
    click.ClickException when the system refuses.
    """
    if uid is None and gid is None:
        return
    if not hasattr(os, "setuid"):
        raise click.UsageError("--uid and --gid: this platform has no users and groups of this kind")
    user = None if uid is None else _user(uid)
    number = user.pw_uid if user is not None else (os.getuid() if uid is None else int(uid))
    group = _group(gid) if gid is not None else (user.pw_gid if user is not None else os.getgid())
    if (number, group) == (os.getuid(), os.getgid()) == (os.geteuid(), os.getegid()):
        return
    try:
        if user is not None:
            os.initgroups(user.pw_name, group)
        elif number != os.getuid():
            os.setgroups([group])
        os.setgid(group)
        os.setuid(number)
    except PermissionError as error:
        raise click.ClickException(f"cannot run as user {number} and group {group}: only root can change ({error})") from error
    if number != 0 and _can_be_root_again():
        raise click.ClickException("the privileges of root could not be given up for good: the worker does not start")


def _user(uid: str | int) -> Any:
    """The entry of the user database; None for a number without one."""
    pwd = importlib.import_module("pwd")
    text = str(uid)
    try:
        return pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
    except KeyError:
        if text.isdigit():
            return None
        raise click.UsageError(f"User does not exist: {uid}") from None


def _group(gid: str | int) -> int:
    text = str(gid)
    if text.isdigit():
        return int(text)
    try:
        found: int = importlib.import_module("grp").getgrnam(text).gr_gid
    except KeyError:
        raise click.UsageError(f"Group does not exist: {gid}") from None
    return found


def _can_be_root_again() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True
