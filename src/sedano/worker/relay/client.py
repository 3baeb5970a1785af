"""A relay's client: a `Broker` for slots, and for the supervisor's own threads."""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn

from sedano.contracts import (
    Begin,
    BeginRule,
    Capabilities,
    DeadLetter,
    Delay,
    Delivery,
    Depth,
    Found,
    Lease,
    LeaseRecord,
    Outgoing,
    Parked,
    Pending,
    Place,
    QueueSpec,
    Settlement,
    Taken,
    TurnOrder,
    TurnReply,
)
from sedano.exceptions import BrokerUnavailable, MessageTooLarge
from sedano.polling import POLLIN, new_poll
from sedano.worker.relay.protocol import (
    AHEAD,
    ANSWER,
    ERROR,
    HEAD,
    LONGEST,
    METHODS,
    TROUBLE,
    TROUBLE_OF,
    VALID,
    WAIT,
    Method,
    error_of,
    pack,
)

_CHUNK = 256 * 1024
_turn = METHODS["turn"]
_open: weakref.WeakSet[RelayBroker] = weakref.WeakSet()


class RelayBroker:
    """Asks the relay at `path`; connects at first use. `fill` reads deliveries that the broker behind it has not read
    (`contracts/opening.py`), `heard` is called for each part of a long answer.

    When the relay is gone every method raises `BrokerUnavailable`, and so does `reconnect`: its node is gone.
    """

    def __init__(
        self, path: str, *, fill: Callable[[Delivery], None] | None = None, heard: Callable[[], None] | None = None
    ) -> None:
        self._path, self._fill, self._heard = path, fill, heard
        self._socket: socket.socket | None = None
        self._in, self._out = bytearray(), bytearray()
        self._capabilities: Capabilities | None = None
        _open.add(self)

    @property
    def capabilities(self) -> Capabilities:
        """Of the broker behind the relay. Raises BrokerUnavailable when the first use cannot ask for them."""
        known = self._capabilities
        if known is None:
            known = self._capabilities = self._asked_capabilities()
        return known

    # -- producers ----------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self._ask("publish", list(messages))

    def declare(self, queues: Iterable[QueueSpec]) -> None:
        self._ask("declare", list(queues))

    # -- leases -------------------------------------------------------------------------------------------------------

    def register(self, owner: str, node: str) -> Lease:
        lease: Lease = self._ask("register", owner, node)
        return lease

    def refence(self, lease: Lease) -> Lease:
        fenced: Lease = self._ask("refence", lease)
        return fenced

    def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        lost: list[Lease] = self._ask("renew", list(leases))
        return lost

    def leases(self) -> list[LeaseRecord]:
        records: list[LeaseRecord] = self._ask("leases")
        return records

    def take_over(self, record: LeaseRecord, by: Lease, *, limit: int, force: bool = False) -> Taken:
        taken: Taken = self._ask("take_over", record, by, limit, force)
        self._read(taken.deliveries)
        return taken

    def retire(self, lease: Lease) -> int:
        count: int = self._ask("retire", lease)
        return count

    # -- deliveries ---------------------------------------------------------------------------------------------------

    def turn(
        self,
        lease: Lease,
        *,
        settle: Sequence[Settlement] = (),
        delay: Sequence[Delay] = (),
        begin: Sequence[Begin] = (),
        reserve: int = 0,
        queues: Sequence[str] = (),
        stored: Sequence[str] = (),
        begin_new: BeginRule | None = None,
    ) -> TurnReply:
        order = TurnOrder(
            lease, _list(settle), _list(delay), _list(begin), reserve, _list(queues), _list(stored), begin_new
        )  # fmt: skip
        self._send(_turn.code, order)
        reply: TurnReply | None = None
        while True:
            kind, said = self._next()
            if kind in (ANSWER, AHEAD):
                reply = self._read_reply(said)
            if kind == ERROR:
                raise error_of(TROUBLE_OF.decode(said))
            if reply is not None and kind in (ANSWER, VALID):
                return reply

    def _read_reply(self, said: bytes) -> TurnReply:
        try:
            reply: TurnReply = _turn.answers.decode(said)
            self._read(reply.reserved)
        except BaseException:  # what says that it is valid would be taken for another's
            self.close()
            raise
        return reply

    def pendings(self, lease: Lease) -> list[Pending]:
        pendings: list[Pending] = self._ask("pendings", lease)
        return pendings

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        count: int = self._ask("release", lease, _names(tags))
        return count

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        count: int = self._ask("unbegin", lease, _names(tags), list(keep))
        return count

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:
        moved: tuple[int, float | None] = self._ask("promote", list(queues), now, limit)
        return moved

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        count: int = self._ask("unpark", list(tasks), list(queues), limit)
        return count

    def wait(self, queues: Sequence[str], timeout_s: float, fds: Sequence[int] = ()) -> None:
        """As in the contract. Raises what the broker's own `wait` raises, at whatever time that happens."""
        if timeout_s > 0 and queues:
            self._send(WAIT, list(queues))
        poll = new_poll()
        if self._socket is not None:
            poll.register(self._socket.fileno(), POLLIN)
        for fd in fds:
            poll.register(fd, POLLIN)
        until = time.monotonic() + timeout_s
        ready = poll.poll(max(0.0, timeout_s) * 1000)
        while not ready and (left := until - time.monotonic()) > 0:  # it rounds down
            ready = poll.poll(left * 1000 + 1)
        if self._socket is not None and any(fd == self._socket.fileno() for fd, _ in ready):
            kind, said = self._next()
            if kind == TROUBLE:
                raise error_of(TROUBLE_OF.decode(said))

    # -- operators ----------------------------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        names: list[str] = self._ask("queues")
        return names

    def depth(self, queues: Sequence[str]) -> list[Depth]:
        depths: list[Depth] = self._ask("depth", list(queues))
        return depths

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        parked: list[Parked] = self._ask("parked", list(queues))
        return parked

    def held(self, owners: Sequence[str], *, limit: int, tags: Collection[str] | None = None) -> list[Delivery]:
        held: list[Delivery] = self._ask("held", list(owners), limit, _names(tags))
        self._read(held)
        return held

    def delayed(self, queues: Sequence[str], *, limit: int) -> tuple[int, list[tuple[float, Delivery]]]:
        count, entries = self._ask("delayed", list(queues), limit)
        self._read(delivery for _, delivery in entries)
        return count, entries

    def purge(self, queue: str) -> int:
        count: int = self._ask("purge", queue)
        return count

    def dead_letters(self, queue: str | None = None, *, limit: int = 100, before: str | None = None) -> list[DeadLetter]:
        letters: list[DeadLetter] = self._ask("dead_letters", queue, limit, before)
        return letters

    def drop_dead(self, ids: Sequence[str]) -> int:
        count: int = self._ask("drop_dead", list(ids))
        return count

    def handback(self, queues: Sequence[str], *, limit: int = 1000) -> int:
        count: int = self._ask("handback", list(queues), limit)
        return count

    # -- workflows ----------------------------------------------------------------------------------------------------

    def workflow(self, workflow_id: str) -> bytes | None:
        record: bytes | None = self._ask("workflow", workflow_id)
        return record

    def workflows(self, *, limit: int = 100, skip: int = 0) -> list[tuple[str, bytes]]:
        records: list[tuple[str, bytes]] = self._ask("workflows", limit, skip)
        return records

    def locate(self, task_ids: Collection[str], queues: Sequence[str], *, most: int) -> tuple[dict[str, Place], bool]:
        places: tuple[dict[str, Place], bool] = self._ask("locate", list(task_ids), list(queues), most)
        return places

    def find(self, task_id: str, queues: Sequence[str], *, most: int) -> tuple[Found | None, bool]:
        found: tuple[Found | None, bool] = self._ask("find", task_id, list(queues), most)
        return found

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Have the relay's broker reconnect; harmless when it is connected, or another client has seen to it."""
        self._ask("reconnect")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._in.clear()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _read(self, deliveries: Iterable[Delivery]) -> None:
        if self._fill is not None:
            for delivery in deliveries:
                if delivery.message is None and not delivery.unreadable:
                    self._fill(delivery)

    def _asked_capabilities(self) -> Capabilities:
        capabilities: Capabilities = self._ask("capabilities")
        return capabilities

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._exchange(METHODS[name], arguments)

    def _exchange(self, method: Method, arguments: Any) -> Any:
        self._send(method.code, arguments)
        while True:
            kind, said = self._next()
            if kind == ANSWER:
                return method.answers.decode(said)
            if kind == ERROR:
                raise error_of(TROUBLE_OF.decode(said))

    def _send(self, kind: int, arguments: Any) -> None:
        out = self._out
        pack(kind, arguments, out)
        if len(out) > LONGEST:
            size = len(out)
            self._out = bytearray()
            raise MessageTooLarge(f"{size} bytes in one step are more than the {LONGEST} that a relay takes")
        try:
            self._connected().sendall(out)
        except OSError as exc:
            self._lose(exc)
        except BaseException:  # interrupted in the middle: what follows would be no frame
            self.close()
            raise
        if len(out) > _CHUNK:
            self._out = bytearray()

    def _next(self) -> tuple[int, bytes]:
        """The next frame: its kind and what it holds."""
        buffer, head = self._in, HEAD.size
        try:
            relay = self._socket
            if relay is None:
                raise ConnectionResetError("it was closed")
            missing = head - len(buffer)
            while True:
                if missing <= 0:
                    length, kind = HEAD.unpack_from(buffer)
                    missing = length + 4 - len(buffer)
                    if missing <= 0:
                        said = bytes(memoryview(buffer)[head : length + 4])
                        del buffer[: length + 4]
                        return kind, said
                part = relay.recv(_CHUNK if missing < _CHUNK else min(missing, 16 * _CHUNK))
                if not part:
                    raise ConnectionResetError("it has ended")
                buffer += part
                missing -= len(part)
                if missing > 0 and self._heard is not None:
                    self._heard()
        except OSError as exc:
            self._lose(exc)
        except BaseException:  # the answer would be taken for another's
            self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._socket is None:
            relay = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                relay.connect(self._path)
            except OSError:
                relay.close()
                raise
            self._socket = relay
        return self._socket

    def _lose(self, exc: OSError) -> NoReturn:
        self.close()
        raise BrokerUnavailable(f"the supervisor's connection to the broker cannot be reached: {exc}") from exc


def _list(values: Sequence[Any]) -> list[Any]:
    return values if isinstance(values, list) else list(values)


def _names(names: Collection[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def _leave_behind() -> None:
    """In a forked child: two processes on one connection would read each other's answers."""
    for broker in list(_open):
        broker.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_behind)
