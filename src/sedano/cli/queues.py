"""`sedano queues`: what waits where."""

from __future__ import annotations

import click

from sedano.cli.brokers import broker_of, known_queues
from sedano.cli.completing import complete_queues
from sedano.cli.context import CliContext, pass_context
from sedano.cli.types import COMMA_LIST

COLUMNS = ("queue", "ready", "delayed", "reserved", "running", "dead", "parked")


@click.command()
@click.option("-Q", "--queues", "names", type=COMMA_LIST, shell_complete=complete_queues, help="Only these, comma separated.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def queues(context: CliContext, names: list[str] | None, as_json: bool) -> None:
    """Show each queue with its messages: ready, delayed (ETA, retries), reserved by a worker, running, dead letters, parked."""
    with broker_of(context.app) as broker:
        depths = broker.depth(names or known_queues(context.app, broker))
    rows = [
        (depth.queue, depth.ready, depth.delayed, depth.reserved, depth.begun, depth.dead, depth.parked) for depth in depths
    ]
    if as_json:
        context.document([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    else:
        context.table(COLUMNS, rows, right=COLUMNS[1:])
