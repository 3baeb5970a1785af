"""What receivers of `task_received` get as `request`: one call as the worker took it from its queue, before it runs.

What the headers say is there at once. `args`, `kwargs`, `chord`, `errbacks` and `callbacks` stand in the body, which is decoded
when somebody asks for them; a body that cannot be read raises what it raises for the worker.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from sedano.app.context import Context
from sedano.contracts import Delivery
from sedano.protocol.call import Body, Call, read_body
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr
from sedano.worker.held import request_of
from sedano.worker.terms import TaskTerms


class Request:
    """Celery's names of a received call. `eta` and `expires` are datetimes in the app's zone, None when there is none."""

    def __init__(self, delivery: Delivery, call: Call, terms: TaskTerms, hostname: str, body: Body | None = None) -> None:
        self._call, self._delivery, self._body = call, delivery, body
        self.task = terms.task
        self.hostname = hostname
        self.acknowledged = False
        self.worker_pid: int | None = None
        self.time_start: float | None = None

    @property
    def app(self) -> Any:
        return self.task.app

    @property
    def message(self) -> Message:
        message = self._delivery.message
        assert message is not None
        return message

    @property
    def id(self) -> str:
        return self._call.id

    @property
    def task_id(self) -> str:
        return self._call.id

    @property
    def name(self) -> str:
        """The task's name, or the call's shadow."""
        return self._call.shadow or self._call.task

    @property
    def type(self) -> str:
        return self._call.task

    @property
    def task_name(self) -> str:
        return self._call.task

    @property
    def request_dict(self) -> dict[str, Any]:
        """The headers of the message."""
        return self.message.headers

    @property
    def time_limits(self) -> tuple[float | None, float | None]:
        """(hard, soft) in seconds, as the message asks for them."""
        return self._call.timelimit

    @property
    def eta(self) -> datetime | None:
        return self._local(self._call.eta)

    @property
    def expires(self) -> datetime | None:
        return self._local(self._call.expires)

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def content_type(self) -> str:
        return self.message.content_type

    @property
    def content_encoding(self) -> str:
        return self.message.content_encoding

    @property
    def argsrepr(self) -> str:
        return self._call.argsrepr or saferepr(self.args)

    @property
    def kwargsrepr(self) -> str:
        return self._call.kwargsrepr or saferepr(self.kwargs)

    @cached_property
    def _context(self) -> Context:
        """Everything that the task itself will see."""
        body = self._body
        if body is None:
            body = read_body(self.message, self.app.accept_content)
        return request_of(self._call, self._delivery, self.hostname, body)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect reserved` says of a call."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr if safe else self.args,
            "kwargs": self.kwargsrepr if safe else self.kwargs,
            "type": self.type,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": self.delivery_info,
            "worker_pid": self.worker_pid,
        }

    def humaninfo(self) -> str:
        return f"{self.name}[{self.id}]"

    def _local(self, moment: float | None) -> datetime | None:
        return None if moment is None else datetime.fromtimestamp(moment, self.app.timezone)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._context, name)

    def __str__(self) -> str:
        parts = [self.humaninfo()]
        if self.eta is not None:
            parts.append(f"ETA:[{self.eta}]")
        if self.expires is not None:
            parts.append(f"expires:[{self.expires}]")
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.humaninfo()} {self.argsrepr} {self.kwargsrepr}>"
