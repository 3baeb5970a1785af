"""One tree of errors. Names that Celery's users catch keep their names and bases.

Exception
 ├─ CeleryError (= SedanoError)          everything we raise on purpose
 │   ├─ ImproperlyConfigured             a setting, an app or a URL is wrong: mend it
 │   ├─ SecurityError                    content that is not accepted or not trusted
 │   ├─ TaskPredicate                    raised by a task to say what becomes of the call
 │   │   ├─ Retry, Ignore, Reject
 │   ├─ TaskError                        about one task
 │   │   ├─ QueueNotFound, NotRegistered (KeyError too)
 │   │   ├─ AlreadyRegistered, IncompleteStream, InvalidTaskError, ChordError, TaskRevokedError,
 │   │   └─ TimeoutError, MaxRetriesExceededError
 │   ├─ UnreadableMessage                bytes that are no message: dead-letter them
 │   │   ├─ DecodeError, ContentDisallowed (SecurityError too)
 │   ├─ EncodeError                      a value that no serializer takes
 │   ├─ OperationalError                 broker or results unavailable: try again
 │   │   ├─ BrokerUnavailable, ResultsUnavailable
 │   │   ├─ MailboxInUse                 another node of this name listens: nobody else can
 │   │   ├─ NotAllSent                   of many calls some were not sent; it says which
 │   ├─ StoreFull                        the store took nothing because it is full
 │   ├─ MessageTooLarge                  the store refuses a message of this size
 │   ├─ WorkflowNotFound                 nothing is known of a workflow of that id (LookupError too)
 │   ├─ LeaseLost                        our lease was taken over: what we hold is not ours any more
 │   └─ UnknownStore                     no driver for this URL
 ├─ BackendError
 │   ├─ BackendGetMetaError, BackendStoreError
 ├─ SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError, Terminated
 └─ SystemExit: WorkerShutdown, WorkerTerminate
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn


class CeleryError(Exception):
    """Base of everything that Sedano raises on purpose."""


SedanoError = CeleryError


class WorkflowNotFound(CeleryError, LookupError):
    """No record of such a workflow is kept, and no result tells of it."""


class CeleryWarning(UserWarning):
    """Base of our warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """`send_task` ignores `task_always_eager`."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two nodes answer to the same name."""


class DuplicateTaskNameWarning(CeleryWarning):
    """A task name was registered twice."""


class FixupWarning(CeleryWarning):
    """A framework fixup could not be applied."""


class NotConfigured(CeleryWarning):
    """No configuration module was found."""


class SecurityWarning(CeleryWarning):
    """Something unsafe is switched on."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Will be deprecated."""


class CDeprecationWarning(DeprecationWarning):
    """Deprecated."""


class ImproperlyConfigured(CeleryError):
    """Wrong or contradictory configuration."""


class SecurityError(CeleryError):
    """Content that is not accepted or not trusted."""


# -- raised by tasks -------------------------------------------------------------------------------------------------


class TaskPredicate(CeleryError):
    """What a task raises to say what becomes of its call."""


class Retry(TaskPredicate):
    """The call is to be run again later.

    `when` is the delay in seconds or the absolute start, `exc` the exception that caused it, `sig` the signature that
    was or will be sent.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.exc: BaseException | None
        self.excs: str | None
        if isinstance(exc, str):
            self.exc, self.excs = None, exc
        else:
            self.exc, self.excs = exc, (repr(exc) if exc is not None else None)
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(self, exc, when, **kwargs)

    def humanize(self) -> str:
        if isinstance(self.when, int | float):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> Any:
        return type(self), (self.message, self.exc, self.when)


RetryTaskError = Retry


class Ignore(TaskPredicate):
    """Settle the call and write no state."""


class Reject(TaskPredicate):
    """Reject the message; `requeue=True` puts it back into its queue."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


# -- about one task ---------------------------------------------------------------------------------------------------


class TaskError(CeleryError):
    """About one task."""


class QueueNotFound(KeyError, TaskError):
    """The call was routed to a queue that is not declared."""


class NotRegistered(KeyError, TaskError):
    """The task name is unknown here."""

    def __repr__(self) -> str:
        return f"Task of kind {self} never registered, please make sure it's imported."


class AlreadyRegistered(TaskError):
    """The task name is taken."""


class IncompleteStream(TaskError):
    """The end of a stream was reached before its data was complete."""


class InvalidTaskError(TaskError):
    """The message is no valid call."""


class ChordError(TaskError):
    """A part of the chord's header failed."""


class TaskRevokedError(TaskError):
    """The call was revoked, expired or terminated."""


class TimeoutError(TaskError):  # noqa: A001 - Celery's name
    """The operation took longer than asked."""


class MaxRetriesExceededError(TaskError):
    """The call was retried as often as allowed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args: Sequence[Any] = kwargs.pop("task_args", [])
        self.task_kwargs: Mapping[str, Any] = kwargs.pop("task_kwargs", {})
        super().__init__(*args)


# -- messages ---------------------------------------------------------------------------------------------------------


class UnreadableMessage(CeleryError):
    """The bytes are no message that can be run; the text says which part is wrong."""


class DecodeError(UnreadableMessage):
    """A body that its serializer cannot decode."""


class ContentDisallowed(SecurityError, UnreadableMessage):
    """The content type is not in `accept_content`."""


class EncodeError(CeleryError):
    """A value that the serializer cannot encode."""


# -- stores -----------------------------------------------------------------------------------------------------------


class OperationalError(CeleryError):
    """A broker or result store is unavailable; the same operation may work later.

    `refused`: of messages that were published together, the places of those that the store did not take; it has the others.
    None: it has none of them, unless it is `BrokerUnavailable`, of which nobody can tell.
    """

    refused: frozenset[int] | None = None


class BrokerUnavailable(OperationalError):
    """The broker cannot be reached."""


class ResultsUnavailable(OperationalError):
    """The result store cannot be reached."""


class MailboxInUse(OperationalError):
    """Another node listens under this name, and the broker lets only one do so."""


class NotAllSent(OperationalError):
    """Of many calls some were not sent; the cause says why.

    Results in the order of the calls: those of `sent` calls the broker has accepted; of the `unknown` it may have accepted
    some or all (the connection was lost before its answer); the `unsent` it does not have.
    """

    def __init__(self, message: str, sent: Sequence[Any] = (), unknown: Sequence[Any] = (), unsent: Sequence[Any] = ()) -> None:
        self.sent, self.unknown, self.unsent = list(sent), list(unknown), list(unsent)
        super().__init__(message)

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.sent, self.unknown, self.unsent)


class StoreFull(OperationalError):
    """The store took nothing because it has no room (disk full, memory limit)."""


class MessageTooLarge(CeleryError):
    """The store refuses a message of this size."""


class LeaseLost(CeleryError):
    """The lease was taken over; nothing of the operation was applied. `owner` names the holder that lost it."""

    def __init__(self, owner: str, detail: str = "") -> None:
        self.owner = owner
        super().__init__(f"the lease of {owner} was taken over by another node{': ' + detail if detail else ''}")


class LeadershipLost(CeleryError):
    """Another beat leads, or the lock has run out; nothing of the operation was applied."""

    def __init__(self, owner: str, term: int) -> None:
        self.owner, self.term = owner, term
        super().__init__(f"{owner} leads no more: its term {term} is over, nothing was written")


class ScheduleNotFound(CeleryError):
    """There is no such entry in the schedule."""


class ScheduleConflict(CeleryError):
    """The entry is there already, or is kept elsewhere: it is not written."""


class UnknownStore(ImproperlyConfigured):
    """There is no driver for the URL."""


class BackendError(Exception):
    """A result backend could not do its work."""


class BackendGetMetaError(BackendError):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_id: str = kwargs.get("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return super().__repr__() + " task_id:" + self.task_id


class BackendStoreError(BackendError):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: str = kwargs.get("state", "")
        self.task_id: str = kwargs.get("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return super().__repr__() + " state:" + self.state + " task_id:" + self.task_id


class UnpickleableExceptionWrapper(Exception):
    """Stands for an exception that cannot be pickled."""

    def __init__(self, exc_module: str, exc_cls_name: str, exc_args: Sequence[Any], text: str | None = None) -> None:
        self.exc_module, self.exc_cls_name, self.exc_args, self.text = exc_module, exc_cls_name, list(exc_args), text
        super().__init__(exc_module, exc_cls_name, exc_args, text)

    def __str__(self) -> str:
        return self.text or f"{self.exc_cls_name}({', '.join(map(repr, self.exc_args))})"


# -- pool -------------------------------------------------------------------------------------------------------------


class SoftTimeLimitExceeded(Exception):
    """Raised inside the task when its soft time limit is over; the task may catch it and clean up."""

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args}"


class TimeLimitExceeded(Exception):
    """The hard time limit was over; the slot was killed."""

    def __str__(self) -> str:
        return f"TimeLimitExceeded{self.args}"


class WorkerLostError(Exception):
    """The process that ran the call ended without an outcome."""


class Terminated(Exception):
    """The call was ended by an operator's terminate."""


class WorkerShutdown(SystemExit):
    """Raised from code to stop the worker warmly."""


class WorkerTerminate(SystemExit):
    """Raised from code to stop the worker at once."""


SystemTerminate = WorkerTerminate


def reraise(tp: type[BaseException], value: BaseException, tb: TracebackType | None = None) -> NoReturn:  # noqa: ARG001
    """Raise `value` with the traceback `tb`; `tp` is there because Celery's has it."""
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


def is_builtin_exception(name: str) -> bool:
    """Whether `name` is an exception class of Python's own."""
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)
