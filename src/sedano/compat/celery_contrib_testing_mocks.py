"""`celery.contrib.testing.mocks`: messages without a broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import MagicMock, Mock

from sedano.app.base import Celery
from sedano.canvas.signature import Signature
from sedano.protocol.ids import new_id
from sedano.protocol.serializers import dumps


def TaskMessage(  # noqa: N802 - Celery's name
    name: str,
    id: str | None = None,  # noqa: A002 - Celery's name
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] | None = None,
    errbacks: Sequence[Any] | None = None,
    chain: Sequence[Any] | None = None,
    shadow: str | None = None,
    utc: bool | None = None,
    **options: Any,
) -> Any:
    """A message of protocol 2 with `headers`, `body`, `payload`, `content_type` and `content_encoding`; options are headers."""
    del utc
    payload = (args, kwargs or {}, {"callbacks": callbacks, "errbacks": errbacks, "chain": chain})
    return _message(payload, {"id": id or new_id(), "task": name, "shadow": shadow, **options})


def TaskMessage1(  # noqa: N802 - Celery's name
    name: str,
    id: str | None = None,  # noqa: A002 - Celery's name
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *links: Sequence[Any] | None,
    **options: Any,
) -> Any:
    """A message of protocol 1, from the same arguments: everything stands in its body, which knows no chain."""
    callbacks, errbacks, *_ = *links, None, None
    fields = {"task": name, "id": id or new_id(), "args": args, "kwargs": kwargs or {}}
    said = {"callbacks": callbacks, "errbacks": errbacks, **options}
    said.pop("chain", None)
    return _message({**fields, **said}, {})


def task_message_from_sig(
    app: Celery, sig: Signature[Any], utc: bool = True, TaskMessage: Callable[..., Any] = TaskMessage  # noqa: N803
) -> Any:  # fmt: skip
    """The message of a signature, which is frozen by it."""
    sig.freeze()
    options = dict(sig.options)
    link, link_error = options.pop("link", None), options.pop("link_error", None)
    countdown, eta = options.pop("countdown", None), options.pop("eta", None)
    if countdown:
        eta = app.now() + timedelta(seconds=countdown)
    expires = options.pop("expires", None)
    if isinstance(expires, int | float) and expires:
        expires = app.now() + timedelta(seconds=expires)
    task_id = options.pop("task_id", None) or sig.id
    return TaskMessage(
        sig.task,
        id=task_id,
        args=sig.args,
        kwargs=sig.kwargs,
        callbacks=[dict(one) for one in link] if link else None,
        errbacks=[dict(one) for one in link_error] if link_error else None,
        eta=_text(eta),
        expires=_text(expires),
        utc=utc,
        **options,
    )


def ContextMock(*args: Any, **options: Any) -> Any:  # noqa: N802 - Celery's name
    """A mock for `with`: it is what it gives."""
    made = MagicMock(*args, **options)
    made.__enter__.return_value = made
    made.__exit__.return_value = None
    return made


def _message(payload: Any, headers: dict[str, Any]) -> Any:
    message = Mock(name="TaskMessage")
    message.headers, message.payload = headers, payload
    message.content_type, message.content_encoding, message.body = dumps(payload, "json")
    return message


def _text(moment: Any) -> Any:
    return moment.isoformat() if isinstance(moment, datetime) else moment


__all__ = ["ContextMock", "TaskMessage", "TaskMessage1", "task_message_from_sig"]
