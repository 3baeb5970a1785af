"""Celery's remote control commands, as the command line has to know them: words, their kinds, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

CONTROL, INSPECT = "control", "inspect"


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """What is known about a command. `args` are (name, type) in the order of the command line; `variadic` takes what follows.

    `default_timeout` is how long (s) the command line waits for answers when it is not told. `visible`: shown to people.
    """

    name: str
    type: str
    alias: str | None = None
    visible: bool = True
    default_timeout: float = 1.0
    help: str = ""
    signature: str | None = None
    args: tuple[tuple[str, Callable[[Any], Any]], ...] = ()
    variadic: str | None = None

    def arguments(self, words: Sequence[Any]) -> dict[str, Any]:
        """Arguments for the message from the words of a command line. Raises ValueError with a sentence for the user."""
        given = list(words)
        found: dict[str, Any] = {}
        for name, kind in self.args:
            if not given:
                break
            word = given.pop(0)
            try:
                found[name] = kind(word)
            except (TypeError, ValueError) as exc:
                raise ValueError(f"{self.name}: {name} cannot be {word!r}: {exc}") from exc
        if self.variadic is not None:
            found[self.variadic] = given
        elif given:
            extra = " ".join(map(repr, given))
            raise ValueError(f"{self.name}: {extra} is too much; it takes {self.signature or 'no arguments'}")
        return found


def _flag(word: Any) -> bool:
    """Raises ValueError for what is neither yes nor no."""
    text = str(word).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise ValueError("say true or false")


def _seconds(word: Any) -> float | None:
    """Raises ValueError."""
    return None if word is None else float(word)


def _control(
    name: str, text: str, signature: str | None = None, *args: tuple[str, Callable[[Any], Any]], **more: Any
) -> CommandInfo:
    return CommandInfo(name, CONTROL, help=text, signature=signature, args=args, **more)


def _inspect(name: str, text: str, alias: str | None = None, **more: Any) -> CommandInfo:
    return CommandInfo(name, INSPECT, help=text, alias=alias, **more)


BUILTIN: tuple[CommandInfo, ...] = (
    _control(
        "add_consumer",
        "Consume one more queue.",
        "<queue> [exchange [type [routing_key]]]",
        ("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str),
    ),
    _control("autoscale", "Change the limits of a worker that scales.", "[max [min]]", ("max", int), ("min", int)),
    _control("cancel_consumer", "Consume a queue no longer.", "<queue>", ("queue", str)),
    _control("disable_events", "Send no events about tasks any more."),
    _control(
        "election", "Let the workers elect one of them.", "<id> <topic> [action]", ("id", str), ("topic", str), ("action", str)
    ),
    _control("enable_events", "Send events about tasks."),
    _control("heartbeat", "Send a heartbeat event now."),
    _control("pool_grow", "Run N more calls at once.", "[N=1]", ("n", int)),
    _control("pool_restart", "Replace the processes of the pool."),
    _control("pool_shrink", "Run N fewer calls at once.", "[N=1]", ("n", int)),
    _control(
        "rate_limit",
        "Change the rate limit of a task.",
        "<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
        ("task_name", str), ("rate_limit", str),
    ),
    _control("revoke", "Do not run these calls.", "[id1 [id2 [... [idN]]]]", variadic="task_id"),
    _control(
        "revoke_by_stamped_headers",
        "Do not run the calls that bear these stamps.",
        "[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
        variadic="headers",
    ),
    _control("shutdown", "Stop the workers, warm."),
    _control(
        "terminate", "End these calls, with a signal.", "<signal> [id1 [id2 [... [idN]]]]", ("signal", str), variadic="task_id"
    ),
    _control(
        "time_limit",
        "Change the time limits of a task.",
        "<task_name> <soft_secs> [hard_secs]",
        ("task_name", str), ("soft", _seconds), ("hard", _seconds),
    ),
    _inspect("active", "The calls that run now.", "dump_active"),
    _inspect("active_queues", "The queues that each worker consumes."),
    _inspect("clock", "The logical clocks."),
    _inspect(
        "conf", "The settings.", "dump_conf", signature="[include_defaults=False]", args=(("with_defaults", _flag),)
    ),
    _inspect("health", "Whether each worker takes calls, and why not."),
    _inspect("hello", "What workers say to one that starts.", visible=False),
    _inspect("memdump", "The last samples of memory.", signature="[n_samples=10]", args=(("samples", int),)),
    _inspect("memsample", "The memory in use now."),
    _inspect(
        "objgraph",
        "A picture of objects (Celery's workers only).",
        signature="[object_type=Request] [num=200 [max_depth=10]]",
        args=(("type", str), ("num", int), ("max_depth", int)),
        default_timeout=60.0,
    ),
    _inspect("ping", "Who is there.", default_timeout=1.0),
    _inspect(
        "query_task", "Where these calls are, if a worker has them.", signature="[id1 [id2 [... [idN]]]]", variadic="ids"
    ),
    _inspect(
        "registered",
        "The tasks that each worker knows.",
        "dump_tasks",
        signature="[attr1 [attr2 [... [attrN]]]]",
        variadic="taskinfoitems",
    ),
    _inspect("report", "What helps in a bug report."),
    _inspect("reserved", "The calls that are taken and do not run yet.", "dump_reserved"),
    _inspect("revoked", "The ids of revoked calls.", "dump_revoked"),
    _inspect("scheduled", "The calls that wait for their time.", "dump_schedule"),
    _inspect("stats", "Totals, pool, broker, resources."),
)  # fmt: skip
