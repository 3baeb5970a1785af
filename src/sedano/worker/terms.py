"""What a worker knows about its tasks and settings before the first call comes: computed once, read on every call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from sedano.contracts import BeginRule
from sedano.protocol.serializers import accept_types

if TYPE_CHECKING:
    from sedano.app.base import Celery


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """The terms on which one task runs here: its own options, else the settings. Limits are seconds, None for none.

    `early` acks a call when it begins. The rest is named as in Celery.
    """

    task: Any
    name: str
    early: bool
    soft_s: float | None
    hard_s: float | None
    ignore_result: bool
    store_errors: bool  # store_errors_even_if_ignored
    track_started: bool
    acks_on_timeout: bool
    reject_on_worker_lost: bool | None
    retry_on_worker_lost: bool
    throws: tuple[type[BaseException], ...]
    repr_length: int
    skip_successful: bool  # worker_deduplicate_successful_tasks applies
    tells: bool = True  # send_events: whoever follows events hears of its calls


MOST_EXCEPTIONS = 64


class TermsBook:
    """The terms of every task of `app`, found by name; made at first sight."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._known: dict[str, TaskTerms] = {}
        self._limits: Mapping[str, tuple[float | None, float | None]] = {}
        self._rule: BeginRule | None = None
        self._ruled = 0

    def limit(self, limits: Mapping[str, tuple[float | None, float | None]]) -> None:
        """Time limits (soft, hard) that an operator has set; for these tasks they hold instead of the task's own."""
        for name in {*limits, *self._limits}:
            self._known.pop(name, None)
        self._limits = limits

    @property
    def rule(self) -> BeginRule | None:
        """How any task of the app is begun; None when too many of either kind make it too long to be sent with every turn."""
        tasks = self._app.tasks
        if len(tasks) != self._ruled:
            early, late = set[str](), set[str]()
            for name in tasks:
                terms = self.find(name)
                if terms is not None:
                    (early if terms.early else late).add(name)
            most_early = len(early) >= len(late)
            exceptions = frozenset(late if most_early else early)
            self._rule = BeginRule(most_early, exceptions) if len(exceptions) <= MOST_EXCEPTIONS else None
            self._ruled = len(tasks)
        return self._rule

    def find(self, name: str) -> TaskTerms | None:
        """None when the app has no task of that name."""
        terms = self._known.get(name)
        if terms is None:
            task = self._app.tasks.get(name)
            if task is None:
                return None
            terms = task_terms(task, self._app.conf)
            if name in self._limits:
                soft_s, hard_s = self._limits[name]
                terms = replace(terms, soft_s=soft_s or None, hard_s=hard_s or None)
            self._known[name] = terms
        return terms


def task_terms(task: Any, conf: Any) -> TaskTerms:
    """The terms of `task` under the settings `conf`."""

    def option(attribute: str, setting: str) -> Any:
        value = getattr(task, attribute, None)
        return conf.typed(setting) if value is None else value

    either = option("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout")
    on_timeout = option("acks_on_timeout", "task_acks_on_timeout")
    late = bool(option("acks_late", "task_acks_late"))
    return TaskTerms(
        task=task,
        name=task.name,
        early=not late,
        soft_s=option("soft_time_limit", "task_soft_time_limit") or None,
        hard_s=option("time_limit", "task_time_limit") or None,
        ignore_result=bool(option("ignore_result", "task_ignore_result")),
        store_errors=bool(option("store_errors_even_if_ignored", "task_store_errors_even_if_ignored")),
        track_started=bool(option("track_started", "task_track_started")),
        acks_on_timeout=bool(either if on_timeout is None else on_timeout),
        reject_on_worker_lost=option("reject_on_worker_lost", "task_reject_on_worker_lost"),
        retry_on_worker_lost=bool(option("retry_on_worker_lost", "task_retry_on_worker_lost")),
        throws=tuple(task.throws or ()),
        repr_length=task.resultrepr_maxsize,
        skip_successful=late and bool(conf.typed("worker_deduplicate_successful_tasks")),
        tells=bool(task.send_events),
    )


@dataclass(frozen=True, slots=True)
class ResultTerms:
    """How outcomes are stored. `ttl_s` None keeps them for ever; `stored` False stores nothing (no result backend). With
    `replies` they are sent to whoever made the call, so that a record must say where that is."""

    stored: bool
    serializer: str
    compression: str | None
    ttl_s: float | None
    failure_ttl_s: float | None
    chord_ttl_s: float
    extended: bool
    replies: bool = False


def result_terms(conf: Any, *, stored: bool, replies: bool = False) -> ResultTerms:
    ttl_s, failure_ttl_s = conf.typed("result_expires"), conf.typed("result_failure_expires")
    return ResultTerms(
        stored=stored,
        serializer=conf.typed("result_serializer"),
        compression=conf.result_compression,
        ttl_s=ttl_s or None,
        failure_ttl_s=(ttl_s if failure_ttl_s is None else failure_ttl_s) or None,
        chord_ttl_s=conf.typed("result_chord_expires") or ttl_s or 86400.0,
        extended=bool(conf.typed("result_extended")),
        replies=replies,
    )


@dataclass(frozen=True, slots=True)
class MessageTerms:
    """What a message may contain here, and the zone in which its naive times are meant."""

    accept: Collection[str]
    tz: tzinfo


def message_terms(app: Celery) -> MessageTerms:
    return MessageTerms(accept_types(app.conf.typed("accept_content")), app.timezone)
