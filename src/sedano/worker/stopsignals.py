"""Signals that the operating system sends to a node, and what each is to `rules/shutdown.py`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any

from sedano.rules.shutdown import Event


def signal_number(wanted: Any) -> signal.Signals:
    """The signal that an operator means by 15, "15", "TERM" or "SIGTERM". Raises ValueError naming it."""
    text = str(wanted).upper()
    try:
        return signal.Signals(int(text)) if text.isdigit() else signal.Signals[text if text.startswith("SIG") else f"SIG{text}"]
    except (KeyError, ValueError):
        raise ValueError(f"there is no signal {wanted!r}: use a name such as SIGTERM") from None


def stop_events() -> dict[int, Event]:
    """Signal number to event. `REMAP_SIGTERM=SIGQUIT` makes TERM mean what QUIT means, as in Celery."""
    term = Event.QUIT if os.environ.get("REMAP_SIGTERM") == "SIGQUIT" else Event.TERM
    events = {signal.SIGTERM: term, signal.SIGINT: Event.INT}
    if sys.platform != "win32":
        events[signal.SIGQUIT] = Event.QUIT
    return {int(number): event for number, event in events.items()}


class SignalPipe:
    """Makes signals of this process readable: their numbers, one byte each. To be made in the main thread.

    The handlers do nothing themselves, except that USR1 writes the stacks of all threads to stderr.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        heard: list[int] = [signal.SIGTERM, signal.SIGINT]
        if sys.platform != "win32":
            heard += [signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD]
        self._old: dict[int, Any] = {number: signal.signal(number, _heard) for number in heard}
        if sys.platform != "win32":
            self._old[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, _write_stacks)

    def fileno(self) -> int:
        return self._read

    def read(self) -> list[int]:
        """The signals that came since the last call."""
        try:
            return list(os.read(self._read, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


def _heard(_signum: int, _frame: FrameType | None) -> None:
    """The wake-up file number has carried it already."""


def _write_stacks(_signum: int, _frame: FrameType | None) -> None:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stream = sys.__stderr__
    if stream is None:
        return
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
    for ident, frame in frames.items():
        stream.write(f"=== {names.get(ident, ident)} ===\n")
        traceback.print_stack(frame, file=stream)
    stream.flush()
