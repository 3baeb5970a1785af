"""Asking whether a worker takes calls, over the broker or at its HTTP port. Without click: `quickhealth.py` must be quick."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from typing import Any

from sedano.app.bare import BareApp
from sedano.exceptions import OperationalError
from sedano.log import redact_url

EX_OK, EX_UNREADY, EX_UNAVAILABLE = 0, 1, 69
TIMEOUT_S = 3.0


class _TooLate(Exception):
    """No OSError, which a driver would take for its own."""


def ask_port(address: str, *, live: bool, timeout_s: float) -> tuple[bool | None, str]:
    """(ready, reason); None when nobody answers. Raises ImproperlyConfigured for what is no address."""
    from sedano.worker.httpport import connect, resolve  # noqa: PLC0415 - who asks over the broker needs no HTTP

    where = resolve(address)
    received = b""
    try:
        with _deadline(timeout_s), connect(where, timeout_s) as stream:
            stream.sendall(f"GET {'/livez' if live else '/readyz'} HTTP/1.0\r\n\r\n".encode())
            while more := stream.recv(65536):
                received += more
    except _TooLate:
        return None, f"nothing was heard of it for {timeout_s:g} s"
    except OSError as exc:
        return None, exc.strerror or str(exc)
    head, _, body = received.partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    if status not in ([b"200"], [b"503"]):
        return None, "what answers there is no worker's port"
    return status == [b"200"], body.decode("utf-8", "replace").strip().removeprefix("not ready: ")


def ask_without_app(node: str, timeout_s: float) -> tuple[Any, str]:
    """As `ask`, with the settings of the environment: the user's modules are slow to import."""
    return ask(BareApp(), node, timeout_s)


def ask(app: Any, node: str, timeout_s: float) -> tuple[Any, str]:
    """(the node's answer, "") or (None, why there is none). `app` is a Celery or a BareApp.

    Raises ImproperlyConfigured for settings that cannot be.
    """
    try:
        with _deadline(timeout_s):
            replies = app.control.broadcast("health", destination=[node], reply=True, timeout=timeout_s)
    except _TooLate:
        return None, f"the broker has said nothing for {timeout_s:g} s"
    except OperationalError as exc:
        return None, f"the broker cannot be asked: {redact_url(str(exc))}"
    answers = [reply[node] for reply in replies or () if node in reply]
    return (answers[0], "") if answers else (None, f"nothing was heard of it for {timeout_s:g} s")


def read(answer: Any) -> tuple[bool, str]:
    """(ready, reason). Workers of Celery, and Sedano's of before, know no such command: they are no more than there."""
    match answer:
        case {"ok": {"ready": bool(ready), "reason": str(reason)}}:
            return ready, reason
        case _:
            return False, f"it does not know this question ({answer!r}): ask it with `sedano inspect ping`"


def sentence(node: str, ready: bool | None, reason: str) -> str:
    """For people; `ready` None: nobody answers."""
    if ready is None:
        return f"Error: {node} does not answer: {reason}"
    return f"{node} is ready" if ready else f"{node} is not ready: {reason}"


def exit_code(ready: bool | None) -> int:
    return EX_UNAVAILABLE if ready is None else EX_OK if ready else EX_UNREADY


@contextlib.contextmanager
def _deadline(timeout_s: float) -> Generator[None]:
    """Raise _TooLate in what lasts longer, and a second more: a server that takes connections may answer none of them."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _TooLate

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_s + 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
