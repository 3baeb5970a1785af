"""Tells systemd how the node is (`Type=notify`): datagrams to the socket that NOTIFY_SOCKET names, when there is one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

LOOK_EVERY_S = 5.0


class Notifier:
    """Used by the supervisor's thread alone; never blocks and never fails: whoever listens may be gone.

    `due_at` is when it wants to look again (monotonic).
    """

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._has_watchdog = watchdog_s is not None
        self._every_s = LOOK_EVERY_S if watchdog_s is None else min(LOOK_EVERY_S, watchdog_s / 2)
        self.due_at = 0.0
        self._status = ""
        self._is_ready = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Notifier | None:
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            return None
        microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        meant = not pid or pid == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if meant and microseconds.isdecimal() and int(microseconds) else None)

    def look(self, now: float, reason: str, *, is_alive: bool) -> None:
        """The supervisor's loop has turned; `reason` is why the node takes no calls, "" when it does. Only with `is_alive`
        does the watchdog hear of it."""
        if not reason and not self._is_ready:
            self._is_ready = True
            self._send("READY=1")
        self.say(f"not ready: {reason}" if reason else "ready")
        self.due_at = now + self._every_s
        if self._has_watchdog and is_alive:
            self._send("WATCHDOG=1")

    def say(self, status: str) -> None:
        """A line for people, in `systemctl status`."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def stopping(self, *, to_start_again: bool) -> None:
        """The node ends, or takes on another shape under the same process id."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}" if to_start_again else "STOPPING=1")

    def _send(self, text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), self._address)
        except OSError:
            return
