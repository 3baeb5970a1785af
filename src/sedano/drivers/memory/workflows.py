"""Records of workflows, and where calls are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from sedano.contracts import Found, Place, Standing, Where, WorkflowNote
from sedano.protocol.peek import task_id_of

if TYPE_CHECKING:
    from sedano.drivers.memory.store import Store


class Workflows:
    """Bounded by age and by bytes."""

    def __init__(self) -> None:
        self._kept: dict[str, WorkflowNote] = {}

    def keep(self, note: WorkflowNote, now: float) -> None:
        """Keep a record; those that end first go until all fit in `note.max_bytes`. The newest always stays."""
        self._kept.pop(note.id, None)
        self._drop_over(now)
        room = note.max_bytes - len(note.record) - sum(len(old.record) for old in self._kept.values())
        for old in self._by_end()[::-1]:
            if room >= 0:
                break
            room += len(self._kept.pop(old.id).record)
        self._kept[note.id] = note

    def read(self, workflow_id: str, now: float) -> bytes | None:
        self._drop_over(now)
        note = self._kept.get(workflow_id)
        return None if note is None else note.record

    def page(self, limit: int, skip: int, now: float) -> list[tuple[str, bytes]]:
        self._drop_over(now)
        return [(note.id, note.record) for note in self._by_end()[skip : skip + limit]]

    def _by_end(self) -> list[WorkflowNote]:
        """The one that ends last first; of several the one that came last."""
        return sorted(self._kept.values(), key=lambda note: note.ends_at)[::-1]

    def _drop_over(self, now: float) -> None:
        self._kept = {note.id: note for note in self._kept.values() if now < note.ends_at}


def locate(
    store: Store, task_ids: Collection[str], queues: Sequence[str], most: int, now: float
) -> tuple[dict[str, Place], bool]:
    wanted, places, is_whole = set(task_ids) - {""}, dict[str, Place](), True
    for kind in (_dead(store, now), _held(store), store.queues.look(queues)):
        looked = 0
        for raw, place in islice(kind, most + 1):
            looked += 1
            task_id = task_id_of(raw)
            if task_id in wanted and looked <= most:
                places[task_id] = place
        is_whole = is_whole and looked <= most
    return places, is_whole


def find(store: Store, task_id: str, queues: Sequence[str], most: int, now: float) -> tuple[Found | None, bool]:
    found, is_whole = None, True
    for kind in (_dead(store, now), _held(store), store.queues.look(queues)):
        before: Counter[str] = Counter()
        for looked, (raw, place) in enumerate(kind):
            if looked >= most:
                is_whole = False
                break
            is_ready = place.where is Where.READY
            if task_id_of(raw) == task_id:
                found = Found(place, raw, before[place.queue] if is_ready else None)
            before[place.queue] += is_ready
    return found, is_whole


def _held(store: Store) -> Iterator[tuple[bytes, Place]]:
    for owner in store.owners.all():
        for held in owner.held.values():
            where = Where.RESERVED if held.standing is Standing.RESERVED else Where.BEGUN
            yield held.item.raw, Place(where, held.item.queue, owner.node)


def _dead(store: Store, now: float) -> Iterator[tuple[bytes, Place]]:
    for letter in reversed(store.dead.letters(None, now)):
        yield letter.raw, Place(Where.DEAD, letter.queue, detail=f"{letter.note.cause}: {letter.note.detail}")
