"""Log lines as JSON objects, one per line, for whatever collects logs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from sedano import current

JSON = "json"
"""The value of `worker_log_format` and `worker_task_log_format` that asks for it."""

_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "task_id", "task_name", "data"}


class JsonFormatter(logging.Formatter):
    """A record as one object: `time` (ISO 8601, UTC), `level`, `logger`, `process`, `pid`, `message`; within a task `task_name`
    and `task_id`; `data` of the worker's own lines (Celery's `record.data`: name, id, runtime ...); `exception` with the trace;
    and whatever was given as `extra`, its values that are no JSON as their repr."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
            "pid": record.process,
            "message": record.getMessage(),
        }
        line.update(_running_task())
        if "data" in record.__dict__:
            line["data"] = record.__dict__["data"]
        line.update({name: value for name, value in record.__dict__.items() if name not in _OWN})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return msgspec.json.encode(_plain(line)).decode()


def _running_task() -> dict[str, str]:
    task = current.get_current_task()
    request = getattr(task, "request", None)
    if task is None or request is None or not getattr(request, "id", None):
        return {}
    return {"task_name": task.name, "task_id": request.id}


def _plain(value: Any) -> Any:
    """`value` with everything that JSON does not have as its repr, and half surrogates escaped."""
    if isinstance(value, dict):
        return {_text(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and -(2**63) <= value < 2**64):
        return value
    return _text(repr(value))


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
