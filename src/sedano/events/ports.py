"""What this room needs of an app: the room stands below it, and takes it as an argument."""

from __future__ import annotations

from typing import Any, Protocol

from sedano import current
from sedano.contracts import Bus
from sedano.exceptions import ImproperlyConfigured


class Clock(Protocol):
    """The app's logical clock."""

    value: int

    def forward(self) -> int: ...

    def adjust(self, other: int) -> int: ...


class Stores(Protocol):
    def open_bus(self) -> Bus: ...


class App(Protocol):
    """`Celery` as events see it."""

    @property
    def conf(self) -> Any: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def stores(self) -> Stores: ...

    @property
    def control(self) -> Any: ...

    @property
    def events(self) -> Any: ...

    @property
    def log(self) -> Any: ...

    def connection_for_read(self) -> Any: ...


def app_or_current(app: Any = None) -> App:
    """`app`, or the process's current one. Raises ImproperlyConfigured when there is none."""
    found: App | None = app if app is not None else current.get_app()
    if found is None:
        raise ImproperlyConfigured("there is no app in this process: make one first, or give app=")
    return found


def opener(app: App, *sources: Any) -> Any:
    """How a bus is opened for the first of `sources` (a connection, a channel of one) that knows; else the app's."""
    for source in sources:
        if source is not None and hasattr(source, "open_bus"):
            return source.open_bus
    return app.stores.open_bus
