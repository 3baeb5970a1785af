"""An app's ways out: its stores, its sender, its result backend, opened on use and following the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from sedano.app.connect import Stores, stores_of
from sedano.app.detour import Detour
from sedano.app.sending import Sender
from sedano.app.terms import SendingTerms, result_terms, sending_terms
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, ResultsUnavailable
from sedano.log import get_logger
from sedano.protocol.ids import new_id
from sedano.result import Backend, DisabledBackend, ResultReader, ResultTerms, RpcBackend
from sedano.result.blocking import task_join_will_block
from sedano.result.forking import on_fork

if TYPE_CHECKING:
    from sedano.app.base import Celery

logger = get_logger(__name__)


class Wiring:
    """One per app. Any thread may use it."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._lock = threading.RLock()
        self._terms: SendingTerms | None = None
        self._stores: tuple[int, Stores] | None = None
        self._backend: Backend | DisabledBackend | None = None
        self._result_terms: tuple[int, ResultTerms] | None = None
        self._ids = threading.local()
        self._reply_queue = new_id()
        self._detour = Detour(lambda: self.stores)
        self._replies_at: int | None = None
        self.sender = Sender(self._detour.open, self._opened, self._detour)
        on_fork(self, Wiring._renew)

    @property
    def terms(self) -> SendingTerms:
        conf = self._app.conf
        terms = self._terms
        if terms is None or terms.revision != conf.revision or not conf.is_loaded:
            conf.finalize()
            if self._stores is not None:
                _ = self.stores  # other URLs: what is open to the old ones must be closed
            terms = self._terms = sending_terms(conf)
        return terms

    @property
    def stores(self) -> Stores:
        conf = self._app.conf
        conf.finalize()
        known = self._stores
        if known is not None and known[0] == conf.revision:
            return known[1]
        with self._lock:
            revision = conf.revision
            stores = stores_of(conf, self._app.module_file)
            known, self._stores = self._stores, (revision, stores)
        # Not under the lock: a thread that publishes holds the sender's lock when it asks for the stores.
        if known is not None and known[1] != stores:
            self._ids = threading.local()
            self.close()
        return stores

    @property
    def backend(self) -> Backend | DisabledBackend:
        stores = self.stores
        backend = self._backend
        if backend is None:
            with self._lock:
                backend = self._backend = self._backend or self._open_backend(stores)
        return backend

    @property
    def thread_oid(self) -> str:
        try:
            oid: str = self._ids.oid
        except AttributeError:
            oid = self._ids.oid = self._reply_queue if self._hears_replies() else new_id()
        return oid

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
        self.sender.close()
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def _open_backend(self, stores: Stores) -> Backend | DisabledBackend:
        app = self._app
        if stores.results_url is None:
            return DisabledBackend()
        if stores.results_are_replies:
            reader = ResultReader(lambda: stores.open_results(self._reply_queue, self._replies_at))
            return RpcBackend(reader, self._read_result_terms, lambda: app.timezone, stores.results_url)
        return Backend(ResultReader(stores.open_results), self._read_result_terms, lambda: app.timezone, stores.results_url)

    def _read_result_terms(self) -> ResultTerms:
        conf = self._app.conf
        known, revision = self._result_terms, conf.revision
        if known is None or known[0] != revision:
            known = self._result_terms = (revision, result_terms(conf))
        return known[1]

    def _renew(self) -> None:
        """In a forked child: the lock may be held by a thread that is not there, and nobody answers to the parent's ids."""
        self._lock = threading.RLock()
        self._ids = threading.local()
        self._reply_queue = new_id()

    def _opened(self) -> Callable[[], None] | None:
        """The sender has a connection; what it is to do before each publish."""
        stores = self.stores
        if stores.embedded is not None:
            logger.info("No broker is configured: calls go to the embedded store in %s", stores.embedded)
        if not stores.results_are_replies:
            return None
        if stores.write_urls == stores.broker_urls and self._replies_at != self._detour.place:
            self._replies_at, backend = self._detour.place, self._backend
            if backend is not None:
                backend.reader.move()
        return self._listen

    def _listen(self) -> None:
        """Results of what is sent now must find this process. Not inside of a task, which does not wait for them: as in
        Celery, its calls answer to nobody, unless it says that it will wait (`allow_join_result`)."""
        if not task_join_will_block():
            try:
                self.backend.reader.hear_replies()
            except ResultsUnavailable as exc:
                raise BrokerUnavailable(str(exc)) from exc

    def _hears_replies(self) -> bool:
        try:
            return self.stores.results_are_replies
        except ImproperlyConfigured:  # whoever sends something hears of it
            return False
