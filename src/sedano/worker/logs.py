"""Logging of a worker, set up by the settings as Celery does: formats, colours, the root logger, stdout and stderr."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import WatchedFileHandler
from typing import Any

import msgspec

from sedano import signals
from sedano.log import ColorFormatter, LoggingProxy, TaskFormatter
from sedano.worker.nodenames import node_format

FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
TASK_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"


class LogPlan(msgspec.Struct, frozen=True):
    """How this node logs. `file` may hold `%` codes and is None for stderr; `color` None means: on a terminal."""

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


def setup_logs(plan: LogPlan, *, index: int = 0) -> None:
    """Set up the loggers of this process. A receiver of `setup_logging` takes all of it over, except the redirection."""
    logfile = node_format(plan.file, plan.node, index=index) if plan.file else None
    color = _wants_color(plan)
    taken_over = signals.setup_logging.send(None, loglevel=plan.level, logfile=logfile, format=plan.format, colorize=plan.color)
    if not taken_over:
        root = logging.getLogger()
        if plan.hijack_root:
            for name in (None, "celery", "celery.task", "celery.redirected"):
                logging.getLogger(name).handlers = []
        _configure(root, plan.level, logfile, ColorFormatter(plan.format, color, plan.date_format))
        signals.after_setup_logger.send(
            None, logger=root, loglevel=plan.level, logfile=logfile, format=plan.format, colorize=plan.color
        )
        tasks = logging.getLogger("celery.task")
        _configure(tasks, plan.level, logfile, TaskFormatter(plan.task_format, color, plan.task_date_format))
        tasks.propagate = False
        signals.after_setup_task_logger.send(
            None, logger=tasks, loglevel=plan.level, logfile=logfile, format=plan.task_format, colorize=plan.color
        )
    # Read by code that starts processes of its own, as with Celery.
    os.environ.update(CELERY_LOG_LEVEL=str(plan.level), CELERY_LOG_FILE=logfile or "")
    if plan.redirect:
        redirect_streams(plan.redirect_level)


def prepare_slot_logs(plan: LogPlan, index: int) -> None:
    """In a slot: a log file of its own, where the name of the file says so."""
    if plan.file and ("%i" in plan.file or "%I" in plan.file):
        setup_logs(plan, index=index)


def redirect_streams(level: str | int) -> None:
    """Make what is printed a log line. What goes to `sys.__stdout__` stays what it is."""
    proxy = LoggingProxy(logging.getLogger("celery.redirected"), level)
    sys.stdout = sys.stderr = proxy


def _configure(logger: logging.Logger, level: int, logfile: str | None, formatter: logging.Formatter) -> None:
    logger.setLevel(level)
    if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        return  # somebody set it up, and the root logger is not to be hijacked
    handler = WatchedFileHandler(logfile, encoding="utf-8") if logfile else logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(formatter)
    logger.addHandler(handler)


def _wants_color(plan: LogPlan) -> bool:
    if plan.color is not None:
        return plan.color
    stream: Any = sys.__stderr__
    return plan.file is None and stream is not None and stream.isatty()
