"""`sedano list bindings`: which queue gets what from where."""

from __future__ import annotations

import click

from sedano.app.amqp import specs_of
from sedano.cli.context import CliContext

_COLUMN = "{0:<28} {1:<28} {2}"


@click.group("list")
def listing() -> None:
    """Show what is declared."""


@listing.command("bindings")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def bindings(context: CliContext, as_json: bool) -> None:
    """Show queues, their exchanges and routing keys."""
    rows = [
        (binding.name, binding.exchange, binding.routing_key)
        for queue in context.app.amqp.queues.values()
        for binding in specs_of(queue)
    ]
    if as_json:
        context.document([{"queue": queue, "exchange": exchange, "routing_key": key} for queue, exchange, key in rows])
        return
    click.echo(_COLUMN.format("Queue", "Exchange", "Routing Key"))
    click.echo(_COLUMN.format("-" * 16, "-" * 16, "-" * 16))
    for row in rows:
        click.echo(_COLUMN.format(*row))
