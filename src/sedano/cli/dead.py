"""`sedano dead …`: the dead letters, which are kept for `task_dead_retention`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from sedano.cli.brokers import broker_of
from sedano.cli.context import CliContext, pass_context

COLUMNS = ("id", "queue", "task", "task id", "cause", "died at", "detail")


@click.group()
def dead() -> None:
    """Look at dead letters: calls that failed, were lost, or could not be read, with the exact message."""


@dead.command("list")
@click.option("-Q", "--queue", help="Only those of this queue.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many, newest first."
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def list_letters(context: CliContext, queue: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    with broker_of(context.app) as broker:
        letters = broker.dead_letters(queue, limit=limit)
    rows = [
        (
            letter.id,
            letter.queue,
            letter.note.task,
            letter.note.task_id,
            letter.note.cause,
            datetime.fromtimestamp(letter.note.died_at, UTC).isoformat(timespec="seconds"),
            letter.note.detail,
        )
        for letter in letters
    ]
    if as_json:
        keys = [column.replace(" ", "_") for column in COLUMNS]
        context.document([dict(zip(keys, row, strict=True)) for row in rows])
        return
    context.table(COLUMNS, rows)
    if not rows:
        context.note("no dead letters")
