"""Logging of a worker, set up by the settings as Celery does: formats, colours, the root logger, stdout, stderr, warnings."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import WatchedFileHandler
from typing import Any

import msgspec

from sedano import signals
from sedano.app.nodenames import node_format
from sedano.log import ColorFormatter, LoggingProxy, TaskFormatter, original_streams
from sedano.worker.jsonlog import JSON, JsonFormatter

FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
TASK_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"


class LogPlan(msgspec.Struct, frozen=True):
    """How this node logs. `file` may hold `%` codes and is None for stderr; `color` None means: on a terminal. A format that is
    the word `json` is JSON, one object per line."""

    node: str
    level: int = logging.WARNING
    file: str | None = None
    format: str = FORMAT
    task_format: str = TASK_FORMAT
    date_format: str | None = None
    task_date_format: str | None = None
    color: bool | None = None
    hijack_root: bool = True
    redirect: bool = True
    redirect_level: str | int = "WARNING"

    @property
    def is_json(self) -> bool:
        return self.format == JSON


_is_set_up = False


def is_set_up() -> bool:
    """Whether somebody has set up the loggers of this process, or of the one that it was forked from."""
    return _is_set_up


def note_setup(is_done: bool) -> None:
    """Have `is_set_up` say so."""
    global _is_set_up
    _is_set_up = is_done


def setup_logs(plan: LogPlan, *, index: int = 0) -> list[tuple[Any, Any]]:
    """Set up the loggers of this process. A receiver of `setup_logging` takes all of it over, the redirection included; what
    receivers answered is returned.

    Raises what such a receiver raises: a worker that cannot log as it was told must not go on in silence.
    """
    note_setup(True)
    logfile = node_format(plan.file, plan.node, index=index) if plan.file else None
    color = _wants_color(plan)
    heard = {"loglevel": plan.level, "logfile": logfile, "colorize": color}
    taken_over = signals.setup_logging.send(None, format=plan.format, **heard)
    for _, response in taken_over:
        if isinstance(response, Exception):
            raise response
    if not taken_over:
        _setup_loggers(plan, logfile, color, heard)
    # Read by code that starts processes of its own, as with Celery.
    os.environ.update(CELERY_LOG_LEVEL=str(plan.level), CELERY_LOG_FILE=logfile or "")
    logging.captureWarnings(True)
    if plan.redirect and not taken_over:
        redirect_streams(plan.redirect_level)
        os.environ.update(CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(plan.redirect_level))
    return taken_over


def _setup_loggers(plan: LogPlan, logfile: str | None, color: bool, heard: dict[str, Any]) -> None:
    root = logging.getLogger()
    if plan.hijack_root:
        for name in (None, "celery", "celery.task", "celery.redirected"):
            logging.getLogger(name).handlers = []
    plain = JsonFormatter() if plan.is_json else ColorFormatter(plan.format, color, plan.date_format)
    _configure(root, plan.level, logfile, plain)
    signals.after_setup_logger.send(None, logger=root, format=plan.format, **heard)
    setup_task_logger(plan, logfile, color)


def setup_task_logger(plan: LogPlan, logfile: str | None, color: bool, *, propagate: bool = False) -> logging.Logger:
    """Set up the logger of tasks alone, and return it."""
    tasks = logging.getLogger("celery.task")
    of_tasks = JsonFormatter() if plan.task_format == JSON else TaskFormatter(plan.task_format, color, plan.task_date_format)
    _configure(tasks, plan.level, logfile, of_tasks)
    tasks.propagate = propagate
    heard = {"loglevel": plan.level, "logfile": logfile, "colorize": color}
    signals.after_setup_task_logger.send(None, logger=tasks, format=plan.task_format, **heard)
    return tasks


def prepare_slot_logs(plan: LogPlan, index: int) -> None:
    """In a slot: a log file of its own, where the name of the file says so."""
    if plan.file and ("%i" in plan.file or "%I" in plan.file):
        setup_logs(plan, index=index)


def redirect_streams(level: str | int) -> None:
    """Make what is printed a log line. What goes to `sys.__stdout__` stays what it is."""
    proxy = LoggingProxy(logging.getLogger("celery.redirected"), level)
    sys.stdout = sys.stderr = proxy


class _LogStream(logging.StreamHandler[Any]):
    """When nobody reads the log any more, that is told to nobody: as lines of this very log, each with a traceback of its own,
    the complaint would cost a hundred times what the line did."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        with original_streams():
            super().handleError(record)


class _LogFile(WatchedFileHandler):
    """What is wrong with the log file is said on stderr, not in it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        with original_streams():
            super().handleError(record)


def _configure(logger: logging.Logger, level: int, logfile: str | None, formatter: logging.Formatter) -> None:
    logger.setLevel(level)
    if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        return  # somebody set it up, and the root logger is not to be hijacked
    handler = handler_for(logfile)
    handler.setFormatter(formatter)
    logger.addHandler(handler)


def handler_for(logfile: Any) -> logging.Handler:
    """A handler that writes to a file by its name, to a stream, or to stderr (None)."""
    if isinstance(logfile, str):
        return _LogFile(logfile, encoding="utf-8")
    return _LogStream(sys.__stderr__ if logfile is None else logfile)


def _wants_color(plan: LogPlan) -> bool:
    return wants_color(plan.color, plan.file)


def wants_color(color: bool | None, file: str | None) -> bool:
    """Whether lines are coloured: as `color` says, unset at a terminal only."""
    if color is not None:
        return color
    stream: Any = sys.__stderr__
    return file is None and stream is not None and stream.isatty()
