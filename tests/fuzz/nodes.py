"""What a running node reads of others: commands, events, requests to its HTTP port, a file of Celery's. As targets."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from sedano import Celery
from sedano.app.lamport import LamportClock
from sedano.clock import SYSTEM_CLOCK
from sedano.events.state import State
from sedano.exceptions import SecurityError, UnreadableMessage
from sedano.protocol import envelope
from sedano.protocol.call import Call
from sedano.protocol.events import batch, encode_event, is_event, read_events, single
from sedano.protocol.message import Message
from sedano.worker.control.statedb import ids_in
from sedano.worker.gossip import Gossip
from sedano.worker.httpport import HttpPort, listen
from sedano.worker.node import Worker
from sedano.worker.plan import WorkerOptions
from sedano.worker.table import SharedTable
from sedano.worker.teller import Teller

NODE = "fuzzed@here"
LONGEST_S = 5.0  # a command, on a machine that is busy
NOT_HERE = ("shutdown", "pool_restart")  # the node is to stay
ALL_IS_WELL_EVERY = 50

_tries = itertools.count(1)


def _json_of(data: bytes) -> Message:
    return Message(data, "application/json", "utf-8", {}, {})


# -- commands ---------------------------------------------------------------------------------------------------------


@functools.cache
def _node() -> Any:
    """The mailbox of a node that runs in this process, with the app; events are on."""
    logging.getLogger("celery").addHandler(logging.NullHandler())
    logging.getLogger("celery").propagate = False
    app = Celery("fuzzed", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.task(name="fuzzed.task")(lambda: None)
    worker = Worker(app, WorkerOptions(hostname=NODE, pool="solo", task_events=True), embedded=True)
    threading.Thread(target=worker.start, daemon=True).start()
    assert worker.ready.wait(60.0), "the node does not start"
    assert worker.supervisor is not None
    return worker.supervisor.mailbox, app


def obey(data: bytes) -> None:
    """A command of any name with any arguments: it is answered, in bounded time, and the node goes on."""
    mailbox, app = _node()
    message = _json_of(data)
    if any(name.encode() in data for name in NOT_HERE):
        return
    began = time.monotonic()
    mailbox._hear(message)
    took = time.monotonic() - began
    assert took < LONGEST_S, f"the answer took {took:.1f} s"
    if next(_tries) % ALL_IS_WELL_EVERY == 0:
        is_well(app)


def is_well(app: Celery) -> None:
    """An operator can still change the node, and it works."""
    for command, arguments in (
        ("add_consumer", {"queue": "sane"}),
        ("cancel_consumer", {"queue": "sane"}),
        ("add_consumer", {"queue": "celery"}),
        ("rate_limit", {"task_name": "fuzzed.task", "rate_limit": 0}),
        ("time_limit", {"task_name": "fuzzed.task", "soft": 0, "hard": 0}),
    ):
        (reply,) = app.control.broadcast(command, arguments, reply=True, timeout=LONGEST_S) or [{}]
        assert "ok" in reply[NODE], (command, reply)
    app.send_task("fuzzed.task").get(timeout=LONGEST_S)


# -- events -----------------------------------------------------------------------------------------------------------


def hear(data: bytes) -> None:
    """A message of events, as nodes and monitors hear it. What they say of it others can hear."""
    message = _json_of(data)
    with contextlib.suppress(UnreadableMessage):
        message = envelope.decode(data)
    events: list[dict[str, Any]] = []
    with contextlib.suppress(UnreadableMessage, SecurityError):
        events = read_events(message)
    said: list[tuple[str, Mapping[str, Any]]] = []
    clock = LamportClock()
    gossip = Gossip(
        NODE, 1, clock, lambda kind, fields: said.append((kind, fields)), lambda _topic, _action: None, lambda do: do()
    )
    gossip.elect("an election", "task", None)
    state = State()
    for event in events:
        assert is_event(event)
        if event["type"].startswith("worker-"):
            gossip.hear(event)
        state.event({**event, "local_received": 1.8e9})
    gossip.look(time.monotonic() + 1e6)
    for kind, fields in said:
        piece = encode_event(kind, fields, hostname=NODE, pid=1, timestamp=5.5)
        assert read_events(single(piece, clock.forward(), kind, hostname=NODE)), "nobody can hear what this node says"
    for worker in state.workers.values():
        repr(worker), worker.alive, worker.id
    for _, task in state.tasks_by_time():
        repr(task), task.info(), task.as_dict(), task.ready, task.parent, task.root, task.origin
    state.task_types()


@functools.cache
def _teller() -> tuple[Teller, list[bytes]]:
    sent: list[bytes] = []

    def send(data: bytes) -> bool:
        sent.append(data)
        return True

    return Teller(SharedTable.create(1), NODE, send, SYSTEM_CLOCK), sent


def tell(call: Call) -> None:
    """What a node says of a call that it has received."""
    teller, sent = _teller()
    sent.clear()
    teller.received(call)
    teller.started(call.id)
    teller.failed(call.id, f"wrong: {call.task}", call.argsrepr)
    teller.flush()
    pieces = b"\n".join(sent).split(b"\n")
    assert len(pieces) == 3, "an event is more than one"
    assert len(read_events(batch(pieces, [1, 2, 3], hostname=NODE))) == 3, "nobody can hear what this node says"


# -- others -----------------------------------------------------------------------------------------------------------


def adopt(data: bytes) -> None:
    """What lies in a state db: ids that the store takes, or it is refused."""
    for packed in (data, _pickled(zlib.compress(data))):
        ids: list[str] = []
        with contextlib.suppress(Exception):  # whoever reads the file catches all
            ids = ids_in(packed)
        assert "".join(ids).encode("utf-8") is not None


def _pickled(data: bytes) -> bytes:
    out = io.BytesIO(b"")
    out.write(b"\x80\x04B" + len(data).to_bytes(4, "little") + data + b".")
    return out.getvalue()


@functools.cache
def _port() -> tuple[str, int]:
    ours = listen("127.0.0.1:0")
    where: tuple[str, int] = ours.getsockname()
    answers: Mapping[str, Callable[[], Any]] = {"/livez": lambda: (200, "text/plain", b"ok\n")}
    HttpPort(ours, answers).start()
    return where


def request(data: bytes) -> None:
    """A request to the HTTP port: answered in HTTP or closed, and the next one is served."""
    for asked, must in ((data, False), (b"GET /livez HTTP/1.1\r\n\r\n", True)):
        with socket.create_connection(_port(), LONGEST_S) as theirs:
            theirs.settimeout(LONGEST_S)
            try:
                theirs.sendall(asked)
                theirs.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: theirs.recv(65536), b""))
            except (ConnectionResetError, BrokenPipeError):
                assert not must
                continue
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n" if must else b"HTTP/1.1 " if answer else b"")
