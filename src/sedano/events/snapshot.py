"""Pictures of the cluster's state, taken every so often: `Polaroid`, which users subclass, and the program behind
`sedano events --camera`."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sedano.dotted import parts_of
from sedano.events.ports import app_or_current
from sedano.events.state import State
from sedano.events.timer import Timer
from sedano.exceptions import OperationalError
from sedano.log import get_logger
from sedano.rules.rates import read_rate
from sedano.rules.retry import reconnect_intervals
from sedano.signals import Signal

__all__ = ["Polaroid", "evcam"]

logger = get_logger("celery.evcam")


class Polaroid:
    """A camera: every `freq` seconds it calls `on_shutter(state)`, while nothing changes in the state; every `cleanup_freq`
    seconds `on_cleanup()`. Both are for subclasses. No more pictures than `maxrate` ("10/m", or a number a second) are taken.

    With `clear_after` the state is cleared after each picture, except for tasks that are not finished. Use it in a `with`
    block, or call `install` and `cancel`; the last picture is taken at the end. Pictures are taken in a thread of `timer`.
    """

    timer: Any = None
    shutter_signal = Signal(name="shutter_signal", providing_args={"state"})
    cleanup_signal = Signal(name="cleanup_signal")
    clear_after = False

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: float | str | None = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        self.app = app_or_current(app)
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.timer = timer or self.timer or Timer()
        self.logger = logger
        self.maxrate = _Allowance(read_rate(maxrate)) if maxrate else None
        self._shutter_entry: Any = None
        self._cleanup_entry: Any = None

    def install(self) -> None:
        """Begin to take pictures."""
        self._shutter_entry = self.timer.call_repeatedly(self.freq, self.capture)
        self._cleanup_entry = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def cancel(self) -> None:
        """Take the last picture, of what was heard since the one before, and stop."""
        entry, self._shutter_entry = self._shutter_entry, None
        if entry is not None:
            entry()
            entry.cancel()
        entry, self._cleanup_entry = self._cleanup_entry, None
        if entry is not None:
            entry.cancel()

    def on_shutter(self, state: State) -> None:
        """A picture: look at `state`."""

    def on_cleanup(self) -> None:
        """Time to remove what is too old."""

    def capture(self) -> None:
        """Take a picture now, while the state stands still."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def shutter(self) -> None:
        if self.maxrate is None or self.maxrate.can_consume():
            logger.debug("Shutter: %s", self.state)
            self.shutter_signal.send(sender=self.state)
            self.on_shutter(self.state)

    def cleanup(self) -> None:
        logger.debug("Cleanup: Running...")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.cancel()


def evcam(
    camera: Any,
    freq: float = 1.0,
    maxrate: float | str | None = None,
    loglevel: int | str = 0,
    logfile: str | None = None,
    pidfile: str | None = None,
    timer: Any = None,
    app: Any = None,
    settled: Callable[[], None] | None = None,
    **kwargs: Any,
) -> None:
    """Run a camera (a class, or where it is: "module.Class") until interrupted, or `app` sets a receiver's `should_stop`.

    A broker that goes away is waited for. `settled` is called when it hears events. `pidfile` is the business of the command.
    """
    del pidfile, kwargs
    app = app_or_current(app)
    app.log.setup_logging_subsystem(loglevel, logfile)
    print(f"-> evcam: Taking snapshots with {camera} (every {freq} secs.)", flush=True)  # noqa: T201 - Celery's words
    state = app.events.State()
    cam = _class_of(camera)(state, app=app, freq=freq, maxrate=maxrate, timer=timer)
    cam.install()
    if settled is not None:
        settled()
    try:
        _follow(app, state)
    except KeyboardInterrupt:
        raise SystemExit from None
    finally:
        cam.cancel()


def _follow(app: Any, state: State) -> None:
    waits = reconnect_intervals()
    while True:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": state.event})
            try:
                for _ in receiver.itercapture():
                    waits = reconnect_intervals()
            except OperationalError as exc:
                wait_s = next(waits)
                logger.error("Connection to broker lost: %s. Trying again in %.2f seconds...", exc, wait_s)
                time.sleep(wait_s)
            else:
                return


def _class_of(camera: Any) -> Any:
    """Raises ImportError or AttributeError for a name that leads nowhere."""
    if not isinstance(camera, str):
        return camera
    module, name = parts_of(camera)
    if not module:
        raise ImportError(f"{camera!r} is no camera: give the module and the class, such as camera.DumpCamera")
    return getattr(importlib.import_module(module), name)


class _Allowance:
    """So many a second on average, one at a time."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._level = 1.0
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def can_consume(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._level = min(1.0, self._level + (now - self._at) * self._per_s)
            self._at = now
            if self._level < 1.0:
                return False
            self._level -= 1.0
            return True
