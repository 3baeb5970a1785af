"""One store per URL in this process, and the registry of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from sedano.contracts import Outgoing
from sedano.drivers.memory.agreements import Agreements
from sedano.drivers.memory.book import Book
from sedano.drivers.memory.deadletters import DeadLetters
from sedano.drivers.memory.queues import STEPS, Item, Queues
from sedano.drivers.memory.records import Records
from sedano.drivers.memory.switchboard import Switchboard
from sedano.drivers.memory.waking import Waker
from sedano.drivers.memory.workflows import Workflows
from sedano.drivers.owners import Owners
from sedano.exceptions import ImproperlyConfigured

SCHEMES = ("memory", "cache+memory")

_stores: dict[str, Store] = {}
_stores_lock = threading.Lock()


class Store:
    """Everything that one URL holds. Whoever touches a part of it holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.queues = Queues(on_ready=self._wake_waiting)
        self.owners: Owners[Item] = Owners()
        self.dead = DeadLetters()
        self.records = Records()
        self.agreements = Agreements()
        self.switchboard = Switchboard()
        self.workflows = Workflows()
        self.books: dict[str, Book] = {}
        self._waiting: dict[Waker, frozenset[str]] = {}

    def publish(self, messages: Sequence[Outgoing], now: float) -> None:
        """All or nothing: whatever can be raised is raised before the first message is stored."""
        entries = [(item, outgoing) for outgoing in messages for item in self.queues.items_of(outgoing, now)]
        for item, outgoing in entries:
            if outgoing.due is None:
                self.queues.put_last(item)
            elif outgoing.parked:
                self.queues.park(item, outgoing.parked, outgoing.due)
            else:
                self.queues.delay(item, outgoing.due)
        for outgoing in messages:
            if outgoing.workflow is not None:
                self.workflows.keep(outgoing.workflow, now)

    def book(self, space: str) -> Book:
        """The entries of the space, none at first."""
        return self.books.setdefault(space, Book())

    def start_waiting(self, waker: Waker, queues: Sequence[str]) -> None:
        """From now on `waker` is woken when one of `queues` gets work, and at once if it has some."""
        self._waiting[waker] = frozenset(queues)
        if any(self.queues.ready(name) for name in queues if name not in self.agreements.pauses):
            waker.wake()

    def stop_waiting(self, waker: Waker) -> None:
        self._waiting.pop(waker, None)

    def resume(self, queue: str) -> bool:
        """End the queue's pause; whether it had one."""
        if self.agreements.pauses.pop(queue, None) is None:
            return False
        if self.queues.ready(queue):
            self._wake_waiting(queue)
        return True

    def _wake_waiting(self, queue: str) -> None:
        if queue in self.agreements.pauses:
            return
        for waker, queues in self._waiting.items():
            if queue in queues:
                waker.wake()


def store_at(url: str) -> Store:
    """The store of `url`, made when it is asked for first. Raises `ImproperlyConfigured` for a URL of another kind."""
    name = _name_of(url)
    with _stores_lock:
        return _stores.setdefault(name, Store())


def forget_store(url: str) -> None:
    """Let the next to open `url` find an empty store; connections that are open keep the old one."""
    with _stores_lock:
        _stores.pop(_name_of(url), None)


def put_raw(url: str, queue: str, raw: bytes) -> None:
    """For tests: store bytes at the tail of `queue` as they are, message or not."""
    store = store_at(url)
    with store.lock:
        store.queues.put_last(Item(raw, queue, STEPS[0]))


def _name_of(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if scheme not in SCHEMES or not separator:
        raise ImproperlyConfigured(f"{url!r} is no URL of a memory store: write memory:// or memory://<name>")
    parts = urlsplit(url.removeprefix("cache+"))
    return f"{parts.netloc}{parts.path}".strip("/")
