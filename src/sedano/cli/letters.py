"""Which dead letters a command means: by id, or by what they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import click

from sedano.cli.completing import complete_queues, complete_tasks
from sedano.cli.types import ISO_TIME_OR_SECONDS
from sedano.contracts import Broker, DeadLetter

PAGE = 200
MOST_DIGITS = 18  # what every store can count to
CAUSES = ("failure", "lost", "poison", "unknown", "unreadable", "rejected")

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Filter:
    """What letters have in common; None: whatever it is. Times are Unix seconds; `before` is no part of the span."""

    queue: str | None = None
    task: str | None = None
    cause: str | None = None
    since: float | None = None
    before: float | None = None

    @property
    def is_empty(self) -> bool:
        return (self.queue, self.task, self.cause, self.since, self.before) == (None,) * 5

    def matches(self, letter: DeadLetter) -> bool:
        note = letter.note
        return (
            (self.queue is None or letter.queue == self.queue)
            and (self.task is None or note.task == self.task)
            and (self.cause is None or note.cause == self.cause)
            and (self.since is None or note.died_at >= self.since)
            and (self.before is None or note.died_at < self.before)
        )


def filters(command: Command) -> Command:
    """The options of a `Filter`; `filter_of` reads them."""
    options = (
        click.option("-Q", "--queue", shell_complete=complete_queues, help="Only those of this queue."),
        click.option("-t", "--task", shell_complete=complete_tasks, help="Only those of the task with this name."),
        click.option("--cause", type=click.Choice(CAUSES), help="Only those with this cause."),
        click.option("--since", type=ISO_TIME_OR_SECONDS, help="Only those that died since: a time, or so many seconds ago."),
        click.option("--before", type=ISO_TIME_OR_SECONDS, help="Only those that died before: a time, or so many seconds ago."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def filter_of(
    queue: str | None, task: str | None, cause: str | None, since: float | datetime | None, before: float | datetime | None
) -> Filter:
    return Filter(queue, task, cause, _seconds(since), _seconds(before))


def chosen(broker: Broker, wanted: Filter) -> Iterator[DeadLetter]:
    """Newest first, a page at a time."""
    before: str | None = None
    while page := broker.dead_letters(wanted.queue, limit=PAGE, before=before):
        yield from filter(wanted.matches, page)
        before = page[-1].id


def letter_of(broker: Broker, id_: str) -> DeadLetter | None:
    if not (id_.isascii() and id_.isdecimal() and len(id_) <= MOST_DIGITS):
        return None
    found = broker.dead_letters(limit=1, before=str(int(id_) + 1))
    return found[0] if found and found[0].id == str(int(id_)) else None


def meant(broker: Broker, ids: tuple[str, ...], wanted: Filter, *, everything: bool) -> list[str]:
    """The ids of the letters that a command is to work on, oldest first. Raises click.UsageError when nothing says which."""
    if ids and (everything or not wanted.is_empty):
        raise click.UsageError("Give ids, or options that say which letters are meant, not both.")
    if ids:
        missing = [id_ for id_ in ids if letter_of(broker, id_) is None]
        if missing:
            raise click.ClickException(f"there is no dead letter {', '.join(missing)}: see `sedano dead list`")
        return list(dict.fromkeys(str(int(id_)) for id_ in ids))
    if wanted.is_empty and not everything:
        raise click.UsageError("Say which letters are meant: ids, --queue, --task, --cause, --since, --before, or --all.")
    return [letter.id for letter in chosen(broker, wanted)][::-1]


def _seconds(value: float | datetime | None) -> float | None:
    """Unix seconds. A time without a zone is one of this machine's zone."""
    if value is None or isinstance(value, datetime):
        return None if value is None else value.astimezone().timestamp()
    return time.time() - value
