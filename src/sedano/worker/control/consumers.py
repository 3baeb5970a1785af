"""The commands `add_consumer` and `cancel_consumer`: which queues this node takes from, until it stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sedano.app.amqp import specs_of
from sedano.contracts import QueueSpec
from sedano.worker.lines import one_line

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.worker.consumer.consumer")
LONGEST_NAME = 4096  # bytes; AMQP takes 255


class ConsumerCommands:
    """`commands` by name. `consume(queues, specs)` is told what the node takes from, after each change."""

    def __init__(self, app: Celery, consume: Callable[[tuple[str, ...], tuple[QueueSpec, ...]], None]) -> None:
        self._app, self._consume = app, consume
        self.commands: Mapping[str, Callable[..., Any]] = {
            "add_consumer": self.add_consumer,
            "cancel_consumer": self.cancel_consumer,
        }

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str | None = None,
        routing_key: str | None = None,
        **options: Any,
    ) -> dict[str, str]:
        if not isinstance(queue, str) or not queue:
            raise ValueError(f"add_consumer: {queue!r} is no name of a queue")
        for name, text in (
            ("queue", queue),
            ("exchange", exchange),
            ("exchange_type", exchange_type),
            ("routing_key", routing_key),
        ):
            _require_text(name, text)
        queues = self._app.amqp.queues
        if queue in queues.consume_from:
            _logger.info("Already consuming from %s", one_line(queue))
            return {"ok": f"add consumer {queue}"}
        is_known = queue in queues
        try:
            if is_known:
                queues.select_add(queues[queue])
            else:
                queues.select_add(
                    queue,
                    exchange=queue if exchange is None else exchange,
                    exchange_type=exchange_type or "direct",
                    routing_key=routing_key,
                    **options,
                )
            self._tell()
        except Exception:  # what cannot be declared must not stand in the way of the next command
            queues.unselect(queue, forget=not is_known)
            raise
        _logger.info("Started consuming from %s", one_line(queue))
        return {"ok": f"add consumer {queue}"}

    def cancel_consumer(self, queue: str, **_more: Any) -> dict[str, str]:
        queues = self._app.amqp.queues
        if queue in queues.consume_from:
            _logger.info("Canceling queue %s", one_line(queue))
            queues.deselect([queue])
            self._tell()
        return {"ok": f"no longer consuming from {queue}"}

    def _tell(self) -> None:
        consumed = self._app.amqp.queues.consume_from
        self._consume(tuple(consumed), tuple(spec for queue in consumed.values() for spec in specs_of(queue)))


def _require_text(name: str, value: Any) -> None:
    """Raises ValueError for what no broker takes."""
    try:
        if value is None or len(value.encode()) <= LONGEST_NAME:
            return
    except (AttributeError, UnicodeError):
        pass
    raise ValueError(f"add_consumer: {name} is to be a text of {LONGEST_NAME} bytes at most, not {one_line(repr(value)[:100])}")
