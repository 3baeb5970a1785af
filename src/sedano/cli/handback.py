"""`sedano handback`: the way back to Celery stays open."""

from __future__ import annotations

import click

from sedano.cli.brokers import broker_of, known_queues
from sedano.cli.completing import complete_queues
from sedano.cli.context import CliContext, pass_context
from sedano.cli.progress import progress
from sedano.cli.types import COMMA_LIST

PAGE = 1000


@click.command()
@click.option("-Q", "--queues", "names", type=COMMA_LIST, shell_complete=complete_queues, help="Only these, comma separated.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def handback(context: CliContext, names: list[str] | None, as_json: bool) -> None:
    """Put delayed calls (ETA, countdown, retries) and parked ones back into their queues in Celery's form.

    For the way back to Celery: stop the Sedano workers first, or they will take the calls into the schedule again.
    """
    moved = 0
    with broker_of(context.app) as broker:
        queues = names or known_queues(context.app, broker)
        # A worker that still runs takes them into the schedule again: not more than there were at the start.
        waiting = sum(depth.delayed + depth.parked for depth in broker.depth(queues))
        with progress(context, "Handing back", waiting) as advance:
            while moved < waiting and (page := broker.handback(queues, limit=min(PAGE, waiting - moved))):
                moved += page
                advance(page)
    if as_json:
        context.document({"handed_back": moved, "queues": queues})
    else:
        calls = "call" if moved == 1 else "calls"
        click.echo(f"Handed back {moved} {calls} to {', '.join(queues) or 'no queue'}.")
