"""What receivers of signals get as the worker's consumer: who takes messages, in Celery's words.

No single thing consumes here: each slot takes its own. This is the face that receivers know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sedano.app.base import Celery


class Consumer:
    """`app`, `hostname` (the node's name) and, in the node's own process, `controller`: the worker, whose attributes are this
    one's as well. In a pool process `controller` is None."""

    def __init__(self, app: Celery, hostname: str, controller: Any = None) -> None:
        self.app, self.hostname, self.controller = app, hostname, controller
        self.connection: Any = None  # Kombu's, for the user's ConsumerSteps
        self.steps: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self.__dict__.get("controller") is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.controller, name)

    def __repr__(self) -> str:
        return f"<Consumer: {self.hostname}>"
