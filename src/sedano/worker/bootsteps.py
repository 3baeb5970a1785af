"""What a user's own parts of a worker are made of (`celery.bootsteps`): put into `app.steps["worker"]` or `["consumer"]`.

    class Heater(StartStopStep):
        def start(self, worker): ...
        def stop(self, worker): ...

    app.steps["worker"].add(Heater)

`steps.py` makes them, and starts and stops them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from sedano.app.finding import symbol_by_name

RUN, CLOSE, TERMINATE = 1, 2, 3


class _Named(type):
    """Gives each class its `name`: its own, else `module.Class`."""

    name: str

    def __init__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> None:
        super().__init__(name, bases, attributes)
        cls.name = attributes.get("name") or f"{cls.__module__}.{name}"

    def __str__(cls) -> str:
        return cls.name


class Step(metaclass=_Named):
    """Something that is made with the worker, and looked at no more. `parent` is the worker, or its consumer; `kwargs` are the
    options of the command line.

    `requires` names steps (classes, or "module:Class") that come first; what Celery's own worker is made of is there before all
    of them.
    """

    name: ClassVar[str]
    label: ClassVar[str | None] = None
    conditional = False
    requires: ClassVar[Iterable[Any]] = ()
    last = False
    enabled: bool = True

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        del parent, kwargs

    def include_if(self, parent: Any) -> bool:
        """Whether the worker is to have it."""
        del parent
        return self.enabled

    def instantiate(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """An object of the class that `name` names."""
        return symbol_by_name(name)(*args, **kwargs)

    def create(self, parent: Any) -> Any:
        """Make what the step is for."""
        del parent

    def include(self, parent: Any) -> bool:
        """Make it, unless it is not wanted."""
        if not self.include_if(parent):
            return False
        self.create(parent)
        return True

    @property
    def alias(self) -> str:
        return self.label or type(self).name.rpartition(".")[2]

    def info(self, obj: Any) -> Any:
        del obj

    def __repr__(self) -> str:
        return f"<step: {self.alias}>"


class StartStopStep(Step):
    """Started and stopped with the worker. Without methods of its own it passes both on to what `create` returned."""

    obj: Any = None

    def start(self, parent: Any) -> Any:
        del parent
        return self.obj.start() if self.obj else None

    def stop(self, parent: Any) -> Any:
        del parent
        return self.obj.stop() if self.obj else None

    def close(self, parent: Any) -> Any:
        """The worker begins to stop."""
        del parent

    def terminate(self, parent: Any) -> Any:
        """Stop, in a cold end."""
        if self.obj:
            return getattr(self.obj, "terminate", self.obj.stop)()
        return self.stop(parent)

    def include(self, parent: Any) -> bool:
        if not self.include_if(parent):
            return False
        self.obj = self.create(parent)
        parent.steps.append(self)
        return True


class ConsumerStep(StartStopStep):
    """Consumes messages that are no calls, on a Kombu connection: `get_consumers(channel)` returns Kombu's consumers."""

    requires: ClassVar[Iterable[Any]] = ("celery.worker.consumer:Connection",)
    consumers: Sequence[Any] | None = None

    def get_consumers(self, channel: Any) -> Sequence[Any]:
        """Kombu's consumers on this channel; called again after each lost connection."""
        del channel
        raise NotImplementedError(f"{type(self).name} has no get_consumers(channel)")

    def start(self, parent: Any) -> None:
        self.consumers = self.get_consumers(parent.connection.channel())
        for consumer in self.consumers or ():
            consumer.consume()

    def stop(self, parent: Any) -> None:
        del parent
        self._close(cancel=True)

    def shutdown(self, parent: Any) -> None:
        """Let the consumers go without a word to the broker."""
        del parent
        self._close(cancel=False)

    def _close(self, *, cancel: bool) -> None:
        consumers = list(self.consumers or ())
        self.consumers = None
        for consumer in consumers:
            if cancel:
                with contextlib.suppress(Exception):  # the connection may be gone
                    consumer.cancel()
        for channel in {id(consumer.channel): consumer.channel for consumer in consumers if consumer.channel}.values():
            with contextlib.suppress(Exception):
                channel.close()


class Blueprint:
    """Steps in the order in which they start. `types` are the classes to begin with."""

    name: str | None = None
    state: int | None = None

    def __init__(
        self,
        steps: Iterable[Any] | None = None,
        name: str | None = None,
        on_start: Callable[[], Any] | None = None,
        on_close: Callable[[], Any] | None = None,
        on_stopped: Callable[[], Any] | None = None,
    ) -> None:
        self.name = name or self.name or type(self).__qualname__
        self.types = {symbol_by_name(step) for step in steps or ()}
        self.on_start, self.on_close, self.on_stopped = on_start, on_close, on_stopped
        self.order: list[Step] = []

    def apply(self, parent: Any, **kwargs: Any) -> Blueprint:
        """Make the steps of `types`, those that others require first."""
        self.order = [kind(parent, **kwargs) for kind in in_order(self.types)]
        self.order = [step for step in self.order if step.include(parent)]
        return self

    def start(self, parent: Any) -> None:
        """Start them. What a step raises comes through, and the others are not started."""
        self.state = RUN
        if self.on_start is not None:
            self.on_start()
        for step in parent.steps:
            step.start(parent)

    def close(self, parent: Any) -> None:
        if self.on_close is not None:
            self.on_close()
        self.send_all(parent, "close")

    def stop(self, parent: Any, close: bool = True, terminate: bool = False) -> None:
        """Stop them, the last one first. Errors are logged by `send_all`'s caller: each step is asked."""
        if self.state in (CLOSE, TERMINATE):
            return
        if close:
            self.close(parent)
        self.state = TERMINATE if terminate else CLOSE
        self.send_all(parent, "terminate" if terminate else "stop")
        if self.on_stopped is not None:
            self.on_stopped()

    def restart(self, parent: Any, method: str = "stop") -> None:
        """Stop them, to be started again."""
        self.send_all(parent, method)

    def send_all(self, parent: Any, method: str, *, reverse: bool = True) -> None:
        """Call a method of every step that has it."""
        for step in reversed(parent.steps) if reverse else list(parent.steps):
            function = getattr(step, method, None)
            if function is not None:
                function(parent)

    def join(self, timeout: float | None = None) -> None:
        """Nothing is waited for."""
        del timeout

    def info(self, parent: Any) -> dict[str, Any]:
        """What the steps say of themselves."""
        return {key: value for step in self.order for key, value in (step.info(parent) or {}).items()}

    def human_state(self) -> str:
        return {None: "initializing", RUN: "running", CLOSE: "closing", TERMINATE: "terminating"}[self.state]


def in_order(kinds: Iterable[Any]) -> list[Any]:
    """Classes of steps, each behind those that it requires; `last` ones at the end, else by name.

    Raises ValueError for steps that require each other.
    """
    by_name = {kind.name: kind for kind in sorted(kinds, key=lambda kind: (kind.last, kind.name))}
    ordered: list[Any] = []
    entered: set[str] = set()

    def add(kind: Any, way: tuple[str, ...]) -> None:
        if kind.name in way:
            raise ValueError(f"steps that require each other: {' -> '.join((*way, kind.name))}")
        if kind.name in entered:
            return
        for required in kind.requires:
            name = required.replace(":", ".") if isinstance(required, str) else required.name
            if name in by_name:  # what is not among ours is a part of the worker, and there
                add(by_name[name], (*way, kind.name))
        entered.add(kind.name)
        ordered.append(kind)

    for kind in by_name.values():
        add(kind, ())
    return ordered


__all__ = ["CLOSE", "RUN", "TERMINATE", "Blueprint", "ConsumerStep", "StartStopStep", "Step"]
