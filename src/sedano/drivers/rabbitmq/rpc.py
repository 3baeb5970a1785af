"""Results that are sent to whoever made the call and kept nowhere (rpc://). Keeps what of `contracts/results.py` it can.

Who makes calls has one queue for the whole process (`replyqueue.py`); a worker publishes each state of a call to the queue
that the call names. So only the process that made a call hears of it: to any other it stays PENDING, as in Celery. Nothing can
count the parts of a chord or keep the members of a group here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from sedano.contracts import ChordPart, ChordReady, ChordStart, OpenOptions, ResultWrite
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.declaring import Declaring
from sedano.drivers.rabbitmq.inbox import Inbox
from sedano.drivers.rabbitmq.opened import PATIENCE_S, Opened
from sedano.drivers.rabbitmq.publishing import Publisher
from sedano.drivers.rabbitmq.replyqueue import ReplyQueue
from sedano.drivers.rabbitmq.resultmessage import result_message
from sedano.drivers.rabbitmq.topology import result_queue
from sedano.exceptions import BrokerUnavailable, ResultsUnavailable
from sedano.protocol.results import NO_CHORDS
from sedano.protocol.serializers import known_type


def open_results(url: str, options: OpenOptions) -> RpcResults:
    """`url` is the broker's. `options.amqp.reply_queue` names the queue that this process hears in, "" for one that only tells.

    Does not connect. Raises ImproperlyConfigured for a URL that is none.
    """
    address = address_of(url, options.transport, options)
    return RpcResults(Opened(address, options), options)


class RpcResults:
    """Any thread may ask while another one waits for a stream."""

    def __init__(self, opened: Opened, options: OpenOptions) -> None:
        self._opened, self._options = opened, options
        # Nobody reads this connection between two results.
        quiet = Opened(msgspec.structs.replace(opened.address, heartbeat_s=0.0), options)
        self._publisher = Publisher(lambda: quiet.connect("results"), Declaring(), confirms=True, patience_s=PATIENCE_S)
        self._inbox = Inbox(options.amqp.result_expires_s)
        self._replies = self._new_replies()

    # -- telling ------------------------------------------------------------------------------------------------------

    def store(
        self,
        writes: Sequence[ResultWrite],
        parts: Sequence[ChordPart] = (),
        starts: Sequence[ChordStart] = (),
        *,
        repeated: bool = False,  # noqa: ARG002 - there are no chords
    ) -> list[ChordReady]:
        """Send each record to who waits for it; confirmed, though nobody tells whether the queue was there."""
        if parts or starts:
            self._refuse_chords()
        messages = [message for write in writes if (message := result_message(write, self._options.amqp)) is not None]
        if not messages:
            return []
        try:
            self._publisher.send(messages)
        except BrokerUnavailable as exc:
            self._publisher.close()
            raise ResultsUnavailable(str(exc)) from exc
        return []

    # -- hearing ------------------------------------------------------------------------------------------------------

    def hear_replies(self) -> None:
        """See `contracts/results.py`."""
        if self._replies is not None:
            self._replies.listen()

    def fetch(self, task_ids: Sequence[str]) -> list[bytes | None]:
        if self._replies is not None and task_ids:
            self._replies.look(task_ids)
        return [self._inbox.take(task_id) for task_id in task_ids]

    def forget(self, task_ids: Sequence[str]) -> int:
        return sum(map(self._inbox.forget, task_ids))

    def subscribe(self) -> RpcStream:
        if self._replies is None:
            raise ResultsUnavailable("this process has no queue in which it would hear results")
        return RpcStream(self._replies, self._inbox)

    def expire(self, now: float) -> int:  # noqa: ARG002 - what expires here is in this process
        return 0

    # -- what cannot be done ------------------------------------------------------------------------------------------

    def save_group(self, group_id: str, payload: bytes, ttl_s: float | None) -> NoReturn:
        raise NotImplementedError("save_group is not supported by this backend.")

    def fetch_group(self, group_id: str) -> NoReturn:
        raise NotImplementedError("restore_group is not supported by this backend.")

    def forget_group(self, group_id: str) -> NoReturn:
        raise NotImplementedError("delete_group is not supported by this backend.")

    def start_chord(self, group_id: str, size: int, ttl_s: float) -> NoReturn:  # noqa: ARG002
        self._refuse_chords()

    def grow_chord(self, group_id: str, by: int, tag: str) -> NoReturn:  # noqa: ARG002
        self._refuse_chords()

    def chord_parts(self, group_id: str) -> NoReturn:  # noqa: ARG002
        self._refuse_chords()

    def end_chord(self, group_id: str) -> NoReturn:  # noqa: ARG002
        self._refuse_chords()

    def _refuse_chords(self) -> NoReturn:
        raise NotImplementedError(NO_CHORDS)

    # -- connection ---------------------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        self._publisher.close()
        self.hear_replies()

    def close(self) -> None:
        self._publisher.close()
        if self._replies is not None:
            self._replies.close()

    def _new_replies(self) -> ReplyQueue | None:
        amqp = self._options.amqp
        if not amqp.reply_queue:
            return None
        (queue,) = result_queue(amqp.reply_queue, amqp.result_expires_s).queues
        content_type = known_type(amqp.result_serializer) or ""

        def connect() -> Connection:
            return self._opened.connect("replies")

        return ReplyQueue(connect, queue, self._inbox, content_type)


class RpcStream:
    """The records that come to the process' queue, for those who watch."""

    def __init__(self, replies: ReplyQueue, inbox: Inbox) -> None:
        self._replies, self._inbox = replies, inbox
        self._watched: set[str] = set()
        self._news: deque[tuple[str, bytes]] = deque()
        replies.hear(self._hear)

    def watch(self, task_ids: Sequence[str], drop: Sequence[str] = (), *, look: bool = True) -> list[tuple[str, bytes | None]]:
        self._watched.difference_update(drop)
        self._watched.update(task_ids)
        if not look:
            return []
        return [(task_id, record) for task_id in dict.fromkeys(task_ids) if (record := self._inbox.take(task_id)) is not None]

    def unwatch(self, task_ids: Sequence[str]) -> None:
        self._watched.difference_update(task_ids)

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> list[tuple[str, bytes | None]]:
        self._replies.wait(lambda: bool(self._news), timeout_s, fds)
        found: list[tuple[str, bytes | None]] = []
        while self._news:
            task_id, record = self._news.popleft()
            if task_id in self._watched:
                self._inbox.take(task_id)
                found.append((task_id, record))
        return found

    def close(self) -> None:
        """The queue stays: others hear in it too, and it would go with its consumer."""
        self._replies.unhear(self._hear)
        self._watched.clear()

    def _hear(self, task_id: str, record: bytes) -> None:
        if task_id in self._watched:
            self._news.append((task_id, record))
