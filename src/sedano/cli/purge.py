"""`sedano purge`: drop what waits, with Celery's words."""

from __future__ import annotations

import click

from sedano.cli.brokers import broker_of, chosen_queues
from sedano.cli.completing import complete_queues
from sedano.cli.context import CliContext, pass_context
from sedano.cli.progress import progress
from sedano.cli.types import COMMA_LIST

WARNING = """\
WARNING:This will remove all tasks from queue{s}: {names}.
         There is no undo for this operation!

(to skip this prompt use the -f option)"""


@click.command()
@click.option("-f", "--force", "--yes", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", type=COMMA_LIST, shell_complete=complete_queues, help="Queue names to purge, comma separated.")
@click.option("-X", "--exclude-queues", type=COMMA_LIST, shell_complete=complete_queues, help="Queue names not to purge.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def purge(
    context: CliContext,
    force: bool,
    queues: list[str] | None,
    exclude_queues: list[str] | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Erase all waiting messages from all known task queues (not delayed, parked, running or dead ones).

    Cannot be undone.
    """
    names = chosen_queues(context.app, queues, exclude_queues)
    plural = "s" if len(names) != 1 else ""
    if names and not force and not dry_run:
        click.echo(WARNING.format(s=plural, names=", ".join(sorted(names))), err=as_json)
        click.confirm("Are you sure you want to delete all tasks?", abort=True, err=as_json)
    with broker_of(context.app) as broker:
        depths = broker.depth(names)
        if dry_run:
            counts = {depth.queue: depth.ready for depth in depths}
        else:
            counts = {}
            with progress(context, "Purging", len(names)) as advance:
                for name in names:
                    counts[name] = broker.purge(name)
                    advance(1)
    total = sum(counts.values())
    if as_json:
        context.document({"purged": 0 if dry_run else total, "waiting": total if dry_run else 0, "queues": counts})
        return
    done = "Would purge" if dry_run else "Purged"
    if total:
        known = f"{len(names)} known task queue{plural}"
        click.echo(f"{done} {total} message{'s' if total != 1 else ''} from {known}.")
    else:
        click.echo(f"No messages purged from {len(names)} queue{plural}.")
    delayed, parked = sum(depth.delayed for depth in depths), sum(depth.parked for depth in depths)
    if delayed or parked:
        click.echo(
            f"{delayed} delayed and {parked} parked stay: `sedano handback` puts them into their queues, to be purged there.",
            err=True,
        )
