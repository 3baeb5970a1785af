"""Loggers and formatters with Celery's names: "celery", "celery.task" and below them, "celery.worker", ...

What a worker sets up with them is `worker/logs.py`'s business.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import threading
from collections.abc import Iterable
from typing import Any

from sedano import current

_LEVEL_NUMBERS = logging.getLevelNamesMapping()
LOG_LEVELS: dict[int | str, int | str] = {}
LOG_LEVELS.update(_LEVEL_NUMBERS)
LOG_LEVELS.update({value: logging.getLevelName(value) for value in _LEVEL_NUMBERS.values()})

base_logger = logging.getLogger("celery")
task_logger = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celery.worker")

_PASSWORD = re.compile(r"(?P<head>[a-z0-9+.\-]+://[^\s/:@;]*):(?P<secret>[^\s;]*)@", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(r"(?P<head>[?&][^=&\s]*(?:password|secret|token|key)[^=&\s]*=)[^&\s;]+", re.IGNORECASE)


def redact_url(text: str) -> str:
    """`text` with every password of a URL in it replaced by `**`. Every URL that reaches a person goes through here."""

    def hide(found: re.Match[str]) -> str:
        # The last @ before the path ends the password: a password may itself hold one.
        return f"{found['head']}:**@"

    return _SECRET_PARAMETER.sub(r"\g<head>**", _PASSWORD.sub(hide, text))


def get_logger(name: str) -> logging.Logger:
    """A logger below "celery", so that the worker's handlers take what it says."""
    logger = logging.getLogger(name)
    if logger.parent is logging.root and logger is not base_logger:
        logger.parent = base_logger
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """A logger for use in tasks: its lines carry the running task's name and id."""
    if name in ("celery", "celery.task", "celery.worker"):
        raise RuntimeError(f"{name!r} is the name of an internal logger: use the module's __name__ instead")
    logger = logging.getLogger(name)
    if logger.parent is logging.root:
        logger.parent = task_logger
    return logger


def mlevel(level: int | str | None) -> int:
    """The number of a log level given as a number or, in any case of letters, a name."""
    if level and not isinstance(level, int):
        found = LOG_LEVELS.get(level.upper())
        if not isinstance(found, int):
            known = "DEBUG, INFO, WARNING, ERROR, CRITICAL, FATAL"
            raise ValueError(f"{level!r} is no log level; use one of {known}")
        return found
    return int(level or 0)


class ColorFormatter(logging.Formatter):
    """Colours whole messages by level when `use_color` says so."""

    COLORS = {"DEBUG": "\033[1;34m", "WARNING": "\033[1;33m", "ERROR": "\033[1;31m", "CRITICAL": "\033[1;35m"}  # noqa: RUF012
    RESET = "\033[0m"

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        color = self.COLORS.get(record.levelname) if self.use_color else None
        return f"{color}{text}{self.RESET}" if color else text


class TaskFormatter(ColorFormatter):
    """Fills `%(task_name)s` and `%(task_id)s` with the running task, `???` outside of one."""

    def format(self, record: logging.LogRecord) -> str:
        task = current.get_current_task()
        request = getattr(task, "request", None)
        if task is not None and request is not None and getattr(request, "id", None):
            record.__dict__.update(task_id=request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)


class LoggingProxy(io.TextIOBase):
    """A text stream that turns each line written into a log line: how `print` in a task becomes a WARNING line.

    A line is logged when it is complete, so that `print("a", "b")` is one line; `flush` logs what has no end yet, and so does
    the end of the task that wrote it (`end_line`).
    """

    def __init__(self, logger: logging.Logger, loglevel: int | str = logging.WARNING) -> None:
        super().__init__()
        self.logger = logger
        self.loglevel = mlevel(loglevel)
        self._local = threading.local()

    def write(self, data: str | bytes) -> int:
        """Take text; blank lines are not logged. What a handler prints while a line is being logged is dropped: it would
        never end."""
        if getattr(self._local, "busy", False):
            return 0
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        *lines, rest = (getattr(self._local, "rest", "") + text).split("\n")
        self._local.rest = rest
        for line in lines:
            self._say(line)
        return len(data)

    def _say(self, line: str) -> None:
        if not line.strip():
            return
        self._local.busy = True
        try:
            self.logger.log(self.loglevel, "%s", line.rstrip())
        finally:
            self._local.busy = False

    def end_line(self) -> None:
        """Log what this thread has written without an end. Asked after each call: nothing is the usual case."""
        if getattr(self._local, "rest", ""):
            self.flush()

    def writelines(self, lines: Iterable[Any], /) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if sys.is_finalizing():
            return  # the interpreter flushes its streams last: where gevent or eventlet made the local, it is gone by then
        rest, self._local.rest = getattr(self._local, "rest", ""), ""
        if not getattr(self._local, "busy", False):
            self._say(rest)

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise io.UnsupportedOperation("a stream that is redirected to a logger has no file number")

    @property
    def name(self) -> str:
        return self.logger.name


@contextlib.contextmanager
def original_streams() -> Any:
    """Within it, stdout and stderr are the process's own, whatever they were redirected to."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = sys.__stdout__ or out, sys.__stderr__ or err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def say(text: str, *, error: bool = False) -> None:
    """Write to the terminal, past any redirection of stdout."""
    stream = sys.__stderr__ if error else sys.__stdout__
    if stream is not None:
        stream.write(f"{text}\n")
        stream.flush()


__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "TaskFormatter",
    "base_logger",
    "get_logger",
    "get_task_logger",
    "mlevel",
    "original_streams",
    "redact_url",
    "say",
    "task_logger",
    "worker_logger",
]
