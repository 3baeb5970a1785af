"""What is wrong with an app's settings: every mistake at once, each with its setting, its value and what is expected.

Nothing is refused that works: numbers as text, timedelta, lists and tuples for one another. What only looks wrong is
advice, not a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sedano.exceptions import ImproperlyConfigured
from sedano.settings.censor import shown
from sedano.settings.conf import Settings
from sedano.settings.forms import FALSE_WORDS, FormError, read_value
from sedano.settings.option import Option
from sedano.settings.table import OPTIONS

_MIME_TYPES: Final = {
    "json": "application/json",
    "pickle": "application/x-python-serialize",
    "yaml": "application/x-yaml",
    "msgpack": "application/x-msgpack",
    "auth": "application/data",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake, or one piece of advice. `settings` are the names that it is about."""

    settings: tuple[str, ...]
    text: str
    is_mistake: bool = True


def check(settings: Settings) -> list[Finding]:
    """All that is wrong or odd: values in the order of the table, then what contradicts itself, then misspelt names."""
    findings = [finding for option in OPTIONS.values() for finding in _check_value(settings, option)]
    wrong = {name for finding in findings for name in finding.settings}
    for rule in _RULES:
        findings.extend(finding for finding in rule(settings) if not wrong.intersection(finding.settings))
    findings.extend(Finding((key,), line, is_mistake=False) for key, line in settings.misspelt().items())
    return findings


def require_valid(settings: Settings) -> list[Finding]:
    """Raise ImproperlyConfigured with all mistakes together; the advice that is left is returned."""
    findings = check(settings)
    mistakes = [finding for finding in findings if finding.is_mistake]
    if mistakes:
        many = f"{len(mistakes)} settings are wrong" if len(mistakes) > 1 else "A setting is wrong"
        raise ImproperlyConfigured(f"{many}:\n" + "\n".join(f"  {finding.text}" for finding in mistakes))
    return findings


def _check_value(settings: Settings, option: Option) -> Iterator[Finding]:
    if not settings.value_set_for(option.name):
        return
    value = settings.given(option.name)
    try:
        read_value(option, value)
    except FormError as exc:
        yield Finding((option.name,), f"{option.name}={shown(option.name, value)}: expected {exc}")
        return
    if option.type == "bool" and isinstance(value, str) and value.strip().lower() in FALSE_WORDS[:-1]:
        yield Finding(
            (option.name,),
            f"{option.name}={value!r} is read as false; Celery takes any text for true. Write False.",
            is_mistake=False,
        )


# -- what contradicts itself ------------------------------------------------------------------------------------------


def _limits(settings: Settings) -> Iterator[Finding]:
    soft, hard = _number(settings, "task_soft_time_limit"), _number(settings, "task_time_limit")
    if soft and hard and soft > hard:
        yield Finding(
            ("task_soft_time_limit", "task_time_limit"),
            f"task_soft_time_limit={soft:g} never comes: task_time_limit={hard:g} kills the task before. Make it smaller.",
        )


def _queue_of_one_connection(kind: str) -> Callable[[Settings], Iterator[Finding]]:
    def rule(settings: Settings) -> Iterator[Finding]:
        durable, exclusive = f"{kind}_queue_durable", f"{kind}_queue_exclusive"
        if _true(settings, durable) and _true(settings, exclusive):
            yield Finding(
                (durable, exclusive),
                f"{durable} and {exclusive} are both true: a queue that ends with its connection cannot outlive the broker. "
                f"Set {exclusive}=False, or {durable}=False.",
            )

    return rule


def _window_within_lease(settings: Settings) -> Iterator[Finding]:
    window, lease = _number(settings, "worker_window_time"), _number(settings, "worker_lease_time")
    if window and lease and window >= lease:
        yield Finding(
            ("worker_window_time", "worker_lease_time"),
            f"worker_window_time={window:g} is not within worker_lease_time={lease:g}: "
            "what is begun in one step would outlast the lease. Make it a small part of it.",
        )


def _serializer_is_accepted(settings: Settings) -> Iterator[Finding]:
    for_results = "accept_content" if settings["result_accept_content"] is None else "result_accept_content"
    for name, accepting in (("task_serializer", "accept_content"), ("result_serializer", for_results)):
        accepted, serializer = settings[accepting], settings[name]
        # Only for serializers whose type is known here: of others nobody can say which name is accepted for them.
        if not isinstance(accepted, list | tuple | set | frozenset) or serializer not in _MIME_TYPES:
            continue
        if serializer not in accepted and _MIME_TYPES[serializer] not in accepted:
            yield Finding(
                (name, accepting),
                f"{name}={serializer!r} is not in {accepting}={accepted!r}: what this app sends, a worker with the same "
                "settings refuses.",
                is_mistake=False,
            )


_RULES = (
    _limits,
    _queue_of_one_connection("event"),
    _queue_of_one_connection("control"),
    _window_within_lease,
    _serializer_is_accepted,
)


def _number(settings: Settings, name: str) -> float | None:
    plain = _plain(settings, name)
    return None if plain is None else float(plain)


def _true(settings: Settings, name: str) -> bool:
    return bool(_plain(settings, name))


def _plain(settings: Settings, name: str) -> Any:
    """The value of a setting for a rule; None where it is wrong by itself, which is reported already."""
    try:
        return read_value(OPTIONS[name], settings[name])
    except FormError:
        return None
