"""The worker's log lines about calls, to the letter as Celery writes them: people and their tools search for these.

Each function asks first whether anybody hears the line. The context that formats a line also goes out as `record.data`, as in
Celery. Lines that Celery's main process writes show `MainProcess`, whichever process writes them here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sedano.exceptions import Retry

_received = logging.getLogger("celery.worker.strategy")
_request = logging.getLogger("celery.worker.request")
_trace = logging.getLogger("celery.app.trace")
_consumer = logging.getLogger("celery.worker.consumer.consumer")

RECEIVED = "Task %(name)s[%(id)s] received"
SUCCEEDED = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
FAILED = "Task %(name)s[%(id)s] %(description)s: %(exc)s"
IGNORED = "Task %(name)s[%(id)s] %(description)s"
REJECTED = "Task %(name)s[%(id)s] %(exc)s"
RETRIED = "Task %(name)s[%(id)s] retry: %(exc)s"
DISCARDED = "Discarding revoked task: %s[%s]"
ACCEPTED = "Task accepted: %s[%s] pid:%r"
SOFT_LIMIT = "Soft time limit (%ss) exceeded for %s[%s]"
HARD_LIMIT = "Hard time limit (%ss) exceeded for %s[%s]"
HANDLER_ERROR = "Task handler raised error: %r"

UNKNOWN = """\
Received unregistered task of type %s.
The message has been ignored and discarded.

Did you remember to import the module containing this task?
Or maybe you're using relative imports?

Please see
https://docs.celeryq.dev/en/latest/internals/protocol.html
for more information.

The full contents of the message body was:
%s

The full contents of the message headers:
%s

The delivery info for this task is:
%s
"""

UNREADABLE = """\
Received invalid task message: %s
The message is kept as a dead letter of queue %s; see it with `sedano dead list`.

The full contents of the message body was:
%s
"""

MAIN = "MainProcess"
_NO_FILE = "(unknown file)"  # finding the caller costs more than the line, and says nothing here


def received(*, task_id: str, name: str, args: str, kwargs: str, eta: Any) -> None:
    if _received.isEnabledFor(logging.INFO):
        context = {"id": one_line(task_id), "name": one_line(name), "args": args, "kwargs": kwargs, "eta": eta}
        _write(_received, logging.INFO, RECEIVED, (context,), context, process=MAIN)


def accepted(*, task_id: str, name: str, pid: int) -> None:
    if _request.isEnabledFor(logging.DEBUG):
        _write(_request, logging.DEBUG, ACCEPTED, (one_line(name), one_line(task_id), pid), None, process=MAIN)


def wants_success() -> bool:
    """Whether anybody hears `succeeded`: its texts are not worth making otherwise."""
    return _trace.isEnabledFor(logging.INFO)


def succeeded(*, task_id: str, name: str, return_value: str, runtime: float, args: str, kwargs: str) -> None:
    context = {
        "id": one_line(task_id),
        "name": one_line(name),
        "return_value": return_value,
        "runtime": runtime,
        "args": args,
        "kwargs": kwargs,
    }
    _write(_trace, logging.INFO, SUCCEEDED, (context,), context)


def failed(
    *,
    task_id: str,
    name: str,
    hostname: str,
    exc: BaseException,
    text: str,
    traceback: str | None,
    args: str,
    kwargs: str,
    expected: bool,
) -> None:
    """`text` is the exception's repr. `expected` exceptions (`Task.throws`) are INFO and come without a traceback."""
    level = logging.INFO if expected else logging.ERROR
    if not _trace.isEnabledFor(level):
        return
    context = {
        "hostname": hostname,
        "id": one_line(task_id),
        "name": one_line(name),
        "exc": text,
        "traceback": traceback or "",
        "args": args,
        "kwargs": kwargs,
        "description": "raised expected" if expected else "raised unexpected",
        "internal": False,
    }
    _write(_trace, level, FAILED, (context,), context, exc=None if expected else exc)


def retried(*, task_id: str, name: str, reason: Retry | str) -> None:
    if _trace.isEnabledFor(logging.INFO):
        context = {"id": one_line(task_id), "name": one_line(name), "exc": str(reason)}
        _write(_trace, logging.INFO, RETRIED, (context,), context)


def ignored(*, task_id: str, name: str, description: str = "ignored") -> None:
    if _trace.isEnabledFor(logging.INFO):
        context = {"id": one_line(task_id), "name": one_line(name), "description": description}
        _write(_trace, logging.INFO, IGNORED, (context,), context)


def rejected(*, task_id: str, name: str, exc: BaseException | None, text: str) -> None:
    if _trace.isEnabledFor(logging.WARNING):
        context = {"id": one_line(task_id), "name": one_line(name), "exc": text, "description": "rejected"}
        _write(_trace, logging.WARNING, REJECTED, (context,), context, exc=exc)


def discarded(*, task_id: str, name: str, stamp: Mapping[str, Any] | None = None) -> None:
    """`stamp` is the one for which it was revoked."""
    if _request.isEnabledFor(logging.INFO):
        told, args = DISCARDED, [one_line(name), one_line(task_id)]
        if stamp is not None:
            told = f"{DISCARDED} (revoked by header: %s)"
            args.append(one_line(str(stamp)))
        _write(_request, logging.INFO, told, tuple(args), None, process=MAIN)


def unknown(*, name: str, body: str, headers: Mapping[str, Any], delivery_info: Any) -> None:
    if _consumer.isEnabledFor(logging.ERROR):
        _write(_consumer, logging.ERROR, UNKNOWN, (repr(name), body, headers, delivery_info), None, process=MAIN)


def unreadable(*, reason: str, queue: str, body: str) -> None:
    if _consumer.isEnabledFor(logging.ERROR):
        _write(_consumer, logging.ERROR, UNREADABLE, (reason, queue, body), None, process=MAIN)


def soft_limit(*, task_id: str, name: str, seconds: float) -> None:
    if _request.isEnabledFor(logging.WARNING):
        _write(_request, logging.WARNING, SOFT_LIMIT, (whole(seconds), one_line(name), one_line(task_id)), None, process=MAIN)


def hard_limit(*, task_id: str, name: str, seconds: float) -> None:
    if _request.isEnabledFor(logging.ERROR):
        _write(_request, logging.ERROR, HARD_LIMIT, (whole(seconds), one_line(name), one_line(task_id)), None, process=MAIN)


def handler_error(exc: BaseException) -> None:
    """A call that ended without its process saying so: lost, or killed at its hard limit."""
    if _request.isEnabledFor(logging.ERROR):
        _write(_request, logging.ERROR, HANDLER_ERROR, (exc,), None, process=MAIN, exc=exc)


def one_line(text: str) -> str:
    """A name that came in a message, with its control characters escaped: it must not write lines of its own."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def whole(seconds: float) -> float:
    """The number as people wrote it: 1 and not 1.0."""
    return int(seconds) if float(seconds).is_integer() else seconds


def _write(
    logger: logging.Logger,
    level: int,
    message: str,
    args: tuple[Any, ...],
    data: Mapping[str, Any] | None,
    *,
    process: str | None = None,
    exc: BaseException | None = None,
) -> None:
    info = (type(exc), exc, exc.__traceback__) if exc is not None else None
    record = logger.makeRecord(logger.name, level, _NO_FILE, 0, message, args, info)
    if data is not None:
        record.__dict__["data"] = data
    if process is not None:
        record.processName = process
    logger.handle(record)
