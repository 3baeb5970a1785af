"""What operators see and do: counts, purges, dead letters, parked calls. On channels of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence

from sedano.contracts import DeadLetter, Depth, Parked
from sedano.drivers.rabbitmq import asides, methods
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.declaring import NOT_FOUND
from sedano.drivers.rabbitmq.errors import ChannelClosed
from sedano.drivers.rabbitmq.frames import Incoming
from sedano.drivers.rabbitmq.opened import Opened

MOST_LETTERS = 10_000
"""So many messages of a queue are looked through at most: each has to be handed over for that."""


class Operators:
    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._found: set[str] = set()

    def queues(self) -> list[str]:
        """Those that this object has declared or found: the server shows no list to its clients."""
        known = {*self._opened.declaring.known(), *self._found}
        own = (asides.DEAD, asides.PARKED)
        return sorted({name for name in known if not name.startswith(own)})

    def depth(self, queues: Sequence[str], here: Mapping[str, tuple[int, int]], buffered: Mapping[str, int]) -> list[Depth]:
        """`here`: how many of each are reserved and begun by this node; `buffered`: how many lie in its buffers."""
        found = self._counts([name for queue in queues for name in (queue, asides.dead_name(queue), asides.parked_name(queue))])
        return [
            Depth(
                queue,
                ready=found[queue] + buffered[queue],
                reserved=here[queue][0],
                begun=here[queue][1],
                dead=found[asides.dead_name(queue)],
                parked=found[asides.parked_name(queue)],
            )
            for queue in queues
        ]

    def purge(self, queue: str) -> int:
        purged: list[int] = []
        with self._quiet() as channel:
            purged.append(channel.purge_queue(queue))
        return sum(purged)

    # -- dead letters -------------------------------------------------------------------------------------------------

    def dead_letters(self, queue: str | None, *, limit: int, before: str | None) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        for name in [queue] if queue is not None else self.queues():
            with self._quiet() as channel:
                for incoming in self._browse(channel, asides.dead_name(name)):
                    found = asides.letter_of(incoming)
                    if found is not None and (before is None or int(found.id) < int(before)):
                        letters.append(found)
        return sorted(letters, key=lambda letter: -int(letter.id))[:limit]

    def drop_dead(self, ids: Sequence[str]) -> int:
        wanted, dropped = set(ids), 0
        for name in self.queues():
            with self._quiet() as channel:
                letters = [(each, asides.letter_of(each)) for each in self._browse(channel, asides.dead_name(name))]
                gone = [each for each, letter in letters if letter is not None and letter.id in wanted]
                self._ack(channel, gone)
                dropped += len(gone)
        return dropped

    # -- parked calls -------------------------------------------------------------------------------------------------

    def parked(self, queues: Sequence[str]) -> list[Parked]:
        found: list[Parked] = []
        for name in queues:
            with self._quiet() as channel:
                incoming = self._browse(channel, asides.parked_name(name))
                found += asides.counted(map(asides.task_of, incoming), name)
        return found

    def unpark(self, tasks: Collection[str] | None, queues: Sequence[str], limit: int) -> int:
        """`tasks` None: all. The copy is accepted before the parked one is acknowledged."""
        moved = 0
        names = {queue: asides.parked_name(queue) for queue in queues}
        counts = self._counts(names.values())
        for queue, name in names.items():
            if not counts[name]:
                continue
            with self._quiet() as channel:
                wanted = [each for each in self._browse(channel, name) if tasks is None or asides.task_of(each)[0] in tasks]
                wanted.sort(key=lambda incoming: asides.task_of(incoming)[1])
                wanted = wanted[: limit - moved]
                self._opened.publisher.send([asides.unparked(incoming, queue) for incoming in wanted])
                self._ack(channel, wanted)
                moved += len(wanted)
        return moved

    # -- inside -------------------------------------------------------------------------------------------------------

    def _browse(self, channel: Channel, queue: str) -> list[Incoming]:
        return asides.browse(channel, queue, self._opened.publisher.connection.pump, most=MOST_LETTERS)

    def _ack(self, channel: Channel, messages: Iterable[Incoming]) -> None:
        frames = [methods.ack(channel.id, incoming.delivery_tag) for incoming in messages]
        self._opened.publisher.connection.write(b"".join(frames))
        channel.qos(1)  # answered when all of them are done

    def _counts(self, names: Iterable[str]) -> dict[str, int]:
        """How many messages are ready in each; 0 where there is no such queue."""
        left = list(names)
        found = dict.fromkeys(left, 0)
        while left:
            with self._quiet() as channel:  # it ends with the first that is not there
                while left:
                    name = left.pop()
                    found[name] = channel.declare_queue(name, passive=True).messages
                    self._found.add(name)
        return found

    @contextlib.contextmanager
    def _quiet(self) -> Generator[Channel]:
        """A channel; a queue that is not there ends the block."""
        with self._opened.scratch() as channel:
            try:
                yield channel
            except ChannelClosed as exc:
                if exc.code != NOT_FOUND:
                    raise
