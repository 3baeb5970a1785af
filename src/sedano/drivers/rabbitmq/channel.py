"""One channel of a connection: AMQP's methods as calls that return when the server has answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sedano.drivers.rabbitmq import methods
from sedano.drivers.rabbitmq.confirms import Confirms
from sedano.drivers.rabbitmq.errors import ChannelClosed, NotConfirmed
from sedano.drivers.rabbitmq.frames import Incoming, Returned, content
from sedano.drivers.rabbitmq.methods import Close, Confirm, Consumer, Count, Declared, Flow, Method, Ok
from sedano.exceptions import BrokerUnavailable, MessageTooLarge, OperationalError

if TYPE_CHECKING:
    from sedano.drivers.rabbitmq.connection import Connection

Arguments = Mapping[str, Any] | None

_MOST_ROUTES = 512
_HEADER_OVERHEAD_BYTES = 20
_Kind = TypeVar("_Kind", bound=Method)


def check_header(header: bytes, frame_max: int) -> None:
    """Raise MessageTooLarge for properties that do not fit into one frame."""
    if len(header) + _HEADER_OVERHEAD_BYTES > frame_max:
        raise MessageTooLarge(f"headers and properties of {len(header)} bytes; the server takes {frame_max} in a frame")


class Channel:
    """Made by `Connection.channel`. A method that the server refuses raises `ChannelClosed`: this channel is closed then, and
    what it held is given back; the connection and its other channels go on. On a closed channel everything raises so.

    `on_deliver` must be set before `consume`: a delivery that nobody takes stays unacknowledged. `on_cancel` hears the tag of
    a consumer that the server has ended, because its queue was deleted or its node is gone.
    """

    def __init__(self, connection: Connection, number: int) -> None:
        self.id = number
        self.is_open = False
        self.closed_why: ChannelClosed | None = None
        self.on_deliver: Callable[[Incoming], None] | None = None
        self.on_cancel: Callable[[str], None] | None = None
        self._connection = connection
        self._answers: deque[tuple[int, Method | Incoming | Returned]] = deque()
        self._confirms: Confirms | None = None
        self._returned: list[Returned] = []
        self._asked_ahead = self._answered_ahead = 0
        self._routes: dict[tuple[str, str, bool], bytes] = {}

    # -- life ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """For `Connection.channel`, once."""
        self.is_open = True
        try:
            self._call(methods.open_channel(self.id), "channel.open", Ok)
        except BaseException:
            self.is_open = False
            raise

    def close(self) -> None:
        """What it holds unacknowledged goes back to its queues. Idempotent. Raises `BrokerUnavailable`."""
        if not self.is_open:
            return
        try:
            self._call(methods.close_channel(self.id), "channel.close", Ok, answer=methods.CHANNEL_CLOSE_OK)
        except ChannelClosed:
            return  # the server was first
        self.is_open = False
        self._connection.forget(self)

    def lose(self) -> None:
        """For the connection: it is gone."""
        self.is_open = False

    # -- exchanges and queues -----------------------------------------------------------------------------------------

    def declare_exchange(
        self,
        name: str,
        kind: str,
        *,
        passive: bool = False,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Arguments = None,
    ) -> None:
        frame = methods.declare_exchange(
            self.id,
            name,
            kind,
            passive=passive,
            durable=durable,
            auto_delete=auto_delete,
            internal=internal,
            arguments=arguments,
        )
        self._call(frame, "exchange.declare", Ok)

    def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        self._call(methods.delete_exchange(self.id, name, if_unused=if_unused), "exchange.delete", Ok)

    def bind_exchange(self, destination: str, source: str, routing_key: str = "", arguments: Arguments = None) -> None:
        self._call(methods.bind_exchange(self.id, destination, source, routing_key, arguments), "exchange.bind", Ok)

    def unbind_exchange(self, destination: str, source: str, routing_key: str = "", arguments: Arguments = None) -> None:
        self._call(methods.unbind_exchange(self.id, destination, source, routing_key, arguments), "exchange.unbind", Ok)

    def declare_queue(
        self,
        name: str = "",
        *,
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Arguments = None,
    ) -> Declared:
        """Its name (the server makes one for ""), its messages and consumers at that moment."""
        frame = methods.declare_queue(
            self.id,
            name,
            passive=passive,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments=arguments,
        )
        return self._call(frame, "queue.declare", Declared)

    def bind_queue(self, queue: str, exchange: str, routing_key: str = "", arguments: Arguments = None) -> None:
        self._call(methods.bind_queue(self.id, queue, exchange, routing_key, arguments), "queue.bind", Ok)

    def unbind_queue(self, queue: str, exchange: str, routing_key: str = "", arguments: Arguments = None) -> None:
        self._call(methods.unbind_queue(self.id, queue, exchange, routing_key, arguments), "queue.unbind", Ok)

    def purge_queue(self, queue: str) -> int:
        """Drop what is ready; how many messages that were."""
        return self._call(methods.purge_queue(self.id, queue), "queue.purge", Count).messages

    def delete_queue(self, queue: str, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """How many messages went with it. A queue that is missing is deleted: 0."""
        frame = methods.delete_queue(self.id, queue, if_unused=if_unused, if_empty=if_empty)
        return self._call(frame, "queue.delete", Count).messages

    # -- consuming ----------------------------------------------------------------------------------------------------

    def qos(self, count: int, *, per_channel: bool = False) -> None:
        """At most `count` unacknowledged messages, 0 for any number. When it returns, the server has read all before it."""
        self._call(methods.qos(self.id, count, per_channel=per_channel), "basic.qos", Ok)

    def qos_ahead(self, count: int) -> int:
        """As `qos`, without waiting: the number of the question, which is answered when `answered_ahead` has come so far."""
        if not self.is_open:
            self._refuse()
        self._connection.write(methods.qos(self.id, count))
        self._asked_ahead += 1
        return self._asked_ahead

    @property
    def answered_ahead(self) -> int:
        """How many questions of `qos_ahead` the server has answered."""
        return self._answered_ahead

    def await_ahead(self, number: int, timeout_s: float) -> None:
        """Wait for the answer to that question. Raises `ChannelClosed`, `BrokerUnavailable`."""
        self._connection.wait_until(
            lambda: self._answered_ahead >= number or not self.is_open, timeout_s, "for acknowledgements"
        )
        if self._answered_ahead < number:
            self._refuse()

    def consume(
        self, queue: str, tag: str, *, no_ack: bool = False, exclusive: bool = False, arguments: Arguments = None
    ) -> None:
        frame = methods.consume(self.id, queue, tag, no_ack=no_ack, exclusive=exclusive, arguments=arguments)
        self._call(frame, "basic.consume", Consumer)

    def cancel(self, tag: str) -> None:
        """When it returns, nothing more comes for this consumer. What it holds stays held."""
        self._call(methods.cancel(self.id, tag), "basic.cancel", Consumer)

    def get(self, queue: str, *, no_ack: bool = False) -> Incoming | None:
        found = self._ask(methods.get(self.id, queue, no_ack=no_ack), "basic.get")[1]
        return found if isinstance(found, Incoming) else None

    # -- publishing ---------------------------------------------------------------------------------------------------

    def confirm_select(self) -> None:
        """From now on the server confirms what is published here. Once it is on it stays on."""
        if self._confirms is None:
            self._call(methods.confirm_select(self.id), "confirm.select", Ok)
            self._confirms = Confirms()

    def publish(self, exchange: str, routing_key: str, header: bytes, body: bytes, *, mandatory: bool = False) -> int:
        """Queue the frames; the number that the server will confirm, 0 without `confirm_select`.

        Raises `MessageTooLarge` when the properties do not fit into one frame: AMQP cannot split them.
        """
        if not self.is_open:
            self._refuse()
        route = self._routes.get((exchange, routing_key, mandatory))
        if route is None:
            route = self._route(exchange, routing_key, mandatory=mandatory)
        frame_max = self._connection.frame_max
        check_header(header, frame_max)
        self._connection.write(route + content(self.id, header, body, frame_max))
        return 0 if self._confirms is None else self._confirms.add()

    @property
    def unconfirmed(self) -> int:
        """How many published messages the server has not answered yet."""
        return 0 if self._confirms is None else self._confirms.outstanding

    def await_confirms(self, timeout_s: float | None = None) -> list[Returned]:
        """Wait until the server has answered all that was published here; what no queue took, of mandatory messages.

        Raises `NotConfirmed` for those it did not take; `ChannelClosed`; `BrokerUnavailable` when `timeout_s` (default: the
        socket's) is over, and `ConnectionBlocked`, which is one, when the server has said why. A message that was not
        confirmed may be taken all the same. After an explicit `timeout_s` connection and channel are as before, and the next
        call waits for the same messages and the new ones.
        """
        confirms = self._confirms
        if confirms is None:
            self._connection.flush()
        elif confirms.outstanding:
            if not self.is_open:
                self._refuse()
            self._connection.wait_until(
                lambda: not confirms.outstanding or not self.is_open, timeout_s, "for what was published"
            )
            if confirms.outstanding:
                self._refuse()
        returned, self._returned = self._returned, []
        if confirms is not None and confirms.refused:
            refused, confirms.refused = confirms.refused, []
            raise NotConfirmed(refused, returned)
        return returned

    # -- inside -------------------------------------------------------------------------------------------------------

    def take(self, method: int, found: Method | Incoming | Returned) -> None:
        """For the connection: what the server says on this channel."""
        if method == methods.BASIC_DELIVER:
            if self.on_deliver is not None:
                assert isinstance(found, Incoming)
                self.on_deliver(found)
        elif isinstance(found, Confirm):
            if self._confirms is not None:
                self._confirms.answer(found.number, multiple=found.multiple, taken=method == methods.BASIC_ACK)
        elif isinstance(found, Returned):
            self._returned.append(found)
        elif isinstance(found, Close):
            self.closed_why = ChannelClosed(found.code, found.text, found.method)
            self.is_open = False
            self._connection.write(methods.close_channel_ok(self.id))
            self._connection.forget(self)
        elif method == methods.BASIC_CANCEL:
            assert isinstance(found, Consumer)
            if self.on_cancel is not None:
                self.on_cancel(found.tag)
        elif isinstance(found, Flow) and method == methods.CHANNEL_FLOW:
            self._connection.write(methods.flow_ok(self.id, active=found.active))
        elif method == methods.BASIC_QOS_OK and self._answered_ahead < self._asked_ahead:
            self._answered_ahead += 1  # the server answers in the order in which it is asked
        else:
            self._answers.append((method, found))

    def _call(self, frame: bytes, name: str, kind: type[_Kind], answer: int | None = None) -> _Kind:
        method, found = self._ask(frame, name)
        if not isinstance(found, kind) or (answer is not None and method != answer):
            self._connection.fail(BrokerUnavailable(f"method {method >> 16}.{method & 0xFFFF} is no answer to {name}"))
        return found

    def _ask(self, frame: bytes, name: str) -> tuple[int, Method | Incoming | Returned]:
        if not self.is_open:
            self._refuse()
        if self._answers:
            self._connection.fail(BrokerUnavailable(f"the server answered before it was asked ({name})"))
        self._connection.write(frame)
        self._connection.wait_until(lambda: bool(self._answers) or not self.is_open, None, name)
        if not self._answers:
            self._refuse()
        return self._answers.popleft()

    def _refuse(self) -> NoReturn:
        if self.closed_why is not None:
            raise ChannelClosed(self.closed_why.code, self.closed_why.text, self.closed_why.method)
        self._connection.check()
        raise OperationalError("the channel is closed")

    def _route(self, exchange: str, routing_key: str, *, mandatory: bool) -> bytes:
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        route = methods.publish(self.id, exchange, routing_key, mandatory=mandatory)
        self._routes[exchange, routing_key, mandatory] = route
        return route
