"""`sedano parked`: calls that wait for a worker that knows their task."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from sedano.cli.brokers import broker_of, known_queues
from sedano.cli.completing import complete_queues
from sedano.cli.context import CliContext, pass_context
from sedano.cli.types import COMMA_LIST

COLUMNS = ("queue", "task", "calls", "first fails at")


@click.command()
@click.option("-Q", "--queues", "names", type=COMMA_LIST, shell_complete=complete_queues, help="Only these, comma separated.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def parked(context: CliContext, names: list[str] | None, as_json: bool) -> None:
    """Show the calls of tasks that no worker knew, which wait for `task_unknown_timeout`."""
    with broker_of(context.app) as broker:
        found = broker.parked(names or known_queues(context.app, broker))
    rows = [
        (one.queue, one.task, one.count, datetime.fromtimestamp(one.due, UTC).isoformat(timespec="seconds")) for one in found
    ]
    if as_json:
        keys = [column.replace(" ", "_") for column in COLUMNS]
        context.document([dict(zip(keys, row, strict=True)) for row in rows])
        return
    context.table(COLUMNS, rows, right=("calls",))
    if not rows:
        context.note("nothing is parked")
