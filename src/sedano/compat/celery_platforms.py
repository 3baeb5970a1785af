"""`celery.platforms`: exit codes, signals and names of processes."""

from __future__ import annotations

import os
import signal as _signal
import sys
from typing import Any

from sedano.app.pidfile import Pidfile, PidfileInUse

EX_OK = getattr(os, "EX_OK", 0)
EX_FAILURE = 1
EX_UNAVAILABLE = getattr(os, "EX_UNAVAILABLE", 69)
EX_USAGE = getattr(os, "EX_USAGE", 64)
EX_CANTCREAT = getattr(os, "EX_CANTCREAT", 73)
IS_macOS = sys.platform == "darwin"
IS_WINDOWS = sys.platform == "win32"
SYSTEM = os.uname().sysname if hasattr(os, "uname") else "Windows"
LockFailed = PidfileInUse


class Signals:
    """`celery.platforms.signals`: handlers by the signal's name, with or without SIG."""

    ignored = _signal.SIG_IGN
    default = _signal.SIG_DFL

    def signum(self, name: str | int) -> int:
        """The number of a signal. Raises TypeError for no name at all, AttributeError for an unknown one."""
        if isinstance(name, int):
            return name
        if not name.isupper():
            raise TypeError("signal name must be uppercase string.")
        return int(getattr(_signal, name if name.startswith("SIG") else f"SIG{name}"))

    def supported(self, name: str) -> bool:
        try:
            self.signum(name)
        except AttributeError:
            return False
        return True

    def ignore(self, *names: str) -> None:
        self.update((name, self.ignored) for name in names)

    def reset(self, *names: str) -> None:
        self.update((name, self.default) for name in names)

    def update(self, *pairs: Any, **handlers: Any) -> None:
        for name, handler in dict(*pairs, **handlers).items():
            self[name] = handler

    def __getitem__(self, name: str) -> Any:
        return _signal.getsignal(self.signum(name))

    def __setitem__(self, name: str, handler: Any) -> None:
        if self.supported(name):
            _signal.signal(self.signum(name), handler)


signals = Signals()


def signal_name(signum: int) -> str:
    """`SIGTERM` for 15."""
    return _signal.Signals(signum).name


def pyimplementation() -> str:
    return sys.implementation.name


__all__ = [
    "EX_CANTCREAT",
    "EX_FAILURE",
    "EX_OK",
    "EX_UNAVAILABLE",
    "EX_USAGE",
    "IS_WINDOWS",
    "SYSTEM",
    "IS_macOS",
    "LockFailed",
    "Pidfile",
    "Signals",
    "pyimplementation",
    "signal_name",
    "signals",
]
