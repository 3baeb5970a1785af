"""`sedano dead …`: the dead letters, which are kept for `task_dead_retention`."""

from __future__ import annotations

import base64
import itertools
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from sedano.app.replaying import objection, replay
from sedano.cli.brokers import broker_of
from sedano.cli.context import CliContext, pass_context
from sedano.cli.letters import chosen, filter_of, filters, letter_of, meant
from sedano.cli.progress import progress
from sedano.cli.types import ParamType
from sedano.contracts import Broker, DeadLetter
from sedano.exceptions import UnreadableMessage
from sedano.protocol import envelope

COLUMNS = ("id", "queue", "task", "task id", "cause", "died at", "detail")


class Rate(ParamType):
    """`100/s`, `50/m`, `10/h` or a number per second, as a number per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", str(value))
        rate = float(found[1]) / {"s": 1, "m": 60, "h": 3600}[found[2] or "s"] if found else 0.0
        if rate <= 0:
            self.fail(f"{value!r} is no rate: give 100/s, 50/m or 10/h", param, ctx)
        return rate


@click.group()
def dead() -> None:
    """Look at dead letters, and send them again: calls that failed, were lost, or could not be read."""


@dead.command("list")
@filters
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many, newest first."
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def list_letters(context: CliContext, /, limit: int, as_json: bool, **wanted: Any) -> None:
    """List dead letters, newest first."""
    with broker_of(context.app) as broker:
        rows = [_row(letter) for letter in itertools.islice(chosen(broker, filter_of(**wanted)), limit)]
    if as_json:
        context.document([_fields(row) for row in rows])
        return
    context.table(COLUMNS, rows)
    if not rows:
        context.note("no dead letters")


@dead.command()
@click.argument("id_", metavar="ID")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document, with the exact message in base64.")
@pass_context
def show(context: CliContext, id_: str, as_json: bool) -> None:
    """Show one dead letter: why it is one, the headers of its message, its arguments as their sender wrote them down."""
    with broker_of(context.app) as broker:
        letter = letter_of(broker, id_)
    if letter is None:
        raise click.ClickException(f"there is no dead letter {id_}: see `sedano dead list`")
    shown: dict[str, Any] = {**_fields(_row(letter)), "bytes": len(letter.raw)}
    try:
        message = envelope.decode(letter.raw)
        shown |= {"content_type": message.content_type, "headers": message.headers}
        shown["objection"] = objection(context.app, message, time.time())
    except UnreadableMessage as exc:
        shown["objection"] = str(exc)
    if as_json:
        context.document({**shown, "raw": base64.b64encode(letter.raw).decode()})
        return
    headers = shown.pop("headers", {})
    context.table(("what", "value"), [*shown.items(), *((f"header {name}", value) for name, value in headers.items())])


@dead.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filters
@click.option("--all", "everything", is_flag=True, help="All letters.")
@click.option("--rate", type=Rate(), default="100/s", show_default=True, help="At most so many: 100/s, 50/m, 10/h.")
@click.option("--new-id", is_flag=True, help="Send each as a call of its own; else it keeps its task id, and so its result.")
@click.option("--keep", is_flag=True, help="Keep the letters; else each is dropped when its message was sent.")
@click.option("--dry-run", is_flag=True, help="Send nothing: say what would fail in the app as it is now.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def replay_letters(
    context: CliContext,
    /,
    ids: tuple[str, ...],
    everything: bool,
    rate: float,
    new_id: bool,
    keep: bool,
    dry_run: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Send the exact message of dead letters to their queue again, oldest first."""
    refused: list[tuple[str, str, str]] = []
    sent = 0
    if dry_run:
        _import_tasks(context)
    with broker_of(context.app) as broker:
        numbers = meant(broker, ids, filter_of(**wanted), everything=everything)
        with progress(context, "Replaying", len(numbers)) as advance:
            for letter in _paced(broker, numbers, 0.0 if dry_run else rate):
                why = _try(context, letter, new_id) if dry_run else _send(broker, letter, new_id, keep=keep)
                if why:
                    refused.append((letter.id, letter.note.task, why))
                sent += not why
                advance(1)
    _say_replayed(context, sent, refused, dry_run=dry_run, as_json=as_json)
    if refused:
        raise click.exceptions.Exit(1)


@dead.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filters
@click.option("--all", "everything", is_flag=True, help="All letters.")
@click.option("-f", "--force", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def drop(
    context: CliContext, /, ids: tuple[str, ...], everything: bool, force: bool, dry_run: bool, as_json: bool, **wanted: Any
) -> None:
    """Drop dead letters. Cannot be undone."""
    with broker_of(context.app) as broker:
        numbers = meant(broker, ids, filter_of(**wanted), everything=everything)
        if numbers and not force and not dry_run:
            click.confirm(f"Drop {_letters(len(numbers))} for good?", abort=True, err=as_json)
        dropped = 0 if dry_run else sum(broker.drop_dead(page) for page in _pages(numbers))
    if as_json:
        context.document({"dropped": dropped, "letters": len(numbers)})
    else:
        click.echo(f"Would drop {_letters(len(numbers))}." if dry_run else f"Dropped {_letters(dropped)}.")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    note = letter.note
    died_at = datetime.fromtimestamp(note.died_at, UTC).isoformat(timespec="seconds")
    return letter.id, letter.queue, note.task, note.task_id, note.cause, died_at, note.detail


def _fields(row: tuple[str, ...]) -> dict[str, str]:
    return dict(zip((column.replace(" ", "_") for column in COLUMNS), row, strict=True))


def _import_tasks(context: CliContext) -> None:
    context.app.loader.import_default_modules()
    context.app.finalize()


def _paced(broker: Broker, ids: list[str], rate: float) -> Iterator[DeadLetter]:
    """The letters that are still there, at most `rate` in a second; 0: as fast as can be."""
    start = time.monotonic()
    for number, id_ in enumerate(ids):
        if rate and (wait_s := start + number / rate - time.monotonic()) > 0:
            time.sleep(wait_s)
        letter = letter_of(broker, id_)
        if letter is not None:
            yield letter


def _try(context: CliContext, letter: DeadLetter, new_id: bool) -> str:
    """What would be wrong with it, "" for nothing."""
    try:
        return objection(context.app, replay(letter, new_id=new_id).message, time.time())
    except UnreadableMessage as exc:
        return str(exc)


def _send(broker: Broker, letter: DeadLetter, new_id: bool, *, keep: bool) -> str:
    """Send it, then drop the letter: whoever dies in between leaves it to be sent twice, not lost. Returns as `_try`."""
    try:
        outgoing = replay(letter, new_id=new_id)
    except UnreadableMessage as exc:
        return str(exc)
    broker.publish([outgoing])
    if not keep:
        broker.drop_dead([letter.id])
    return ""


def _say_replayed(context: CliContext, sent: int, refused: list[tuple[str, str, str]], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        problems = [{"id": id_, "task": task, "problem": why} for id_, task, why in refused]
        context.document({"replayed": 0 if dry_run else sent, "would_replay": sent if dry_run else 0, "problems": problems})
        return
    for id_, task, why in refused:
        click.echo(f"{id_} {task}: {why}", err=True)
    click.echo(f"{'Would replay' if dry_run else 'Replayed'} {_letters(sent)}.")
    if refused:
        click.echo(f"{_letters(len(refused))} would fail." if dry_run else f"{_letters(len(refused))} cannot be sent again.")


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _pages(ids: list[str], size: int = 1000) -> Iterator[list[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
