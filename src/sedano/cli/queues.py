"""`sedano queues`: what waits where, and for whom; `pause` and `resume`."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import click
import msgspec

from sedano.app.queuestates import Consumers, QueueState, describe
from sedano.cli.brokers import broker_of, known_queues
from sedano.cli.completing import complete_queues
from sedano.cli.context import CliContext, pass_context
from sedano.cli.types import COMMA_LIST, SECONDS
from sedano.clock import SYSTEM_CLOCK
from sedano.contracts import Pause
from sedano.nearest import hint

COUNTS = ("ready", "delayed", "reserved", "running", "dead", "parked")
COLUMNS = ("queue", *COUNTS, "oldest", "consumers", "paused")
_TIMEOUT = click.option(
    "-t", "--timeout", type=SECONDS, default=1.0, show_default=True,
    help="Seconds to wait for the nodes to say what they consume; 0 does not ask.",
)  # fmt: skip


@click.group(invoke_without_command=True)
@click.option("-Q", "--queues", "names", type=COMMA_LIST, shell_complete=complete_queues, help="Only these, comma separated.")
@_TIMEOUT
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def queues(ctx: click.Context, names: list[str] | None, timeout: float, as_json: bool) -> None:
    """Show each queue: its messages (ready, delayed by ETA or retry, reserved by a worker, running, dead letters, parked), how
    long the first has waited, who consumes it, whether it is paused. Or pause and resume queues."""
    if ctx.invoked_subcommand is not None:
        if names or as_json:
            raise click.UsageError(f"options stand behind the command: sedano queues {ctx.invoked_subcommand} …", ctx)
        return
    context = ctx.ensure_object(CliContext)
    consumers = context.app.control.consumers(timeout) if timeout else None
    states = context.app.control.queues(names, timeout=None, consumers=consumers)
    if as_json:
        context.document([msgspec.to_builtins(state) for state in states])
        return
    context.table(COLUMNS, map(_row, states), right=(*COUNTS, "oldest"))
    _note_silence(context, consumers)


@queues.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_queues)
@click.option("--reason", default="", help="Why, for those who wonder.")
@click.option("-f", "--force", is_flag=True, help="Also queues that nobody knows yet.")
@_TIMEOUT
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def pause(context: CliContext, names: tuple[str, ...], reason: str, force: bool, timeout: float, as_json: bool) -> None:
    """Have no node take anything from these queues until they are resumed.

    Calls that are begun finish, those only reserved go back, producers publish on, delayed calls become due and wait. The store
    keeps it: it outlives every node. Celery's own workers know nothing of it.
    """
    if not force:
        _refuse_unknown(context, names)
    pauses = [Pause(name, SYSTEM_CLOCK.wall(), reason, _whoever()) for name in dict.fromkeys(names)]
    context.app.control.pause_queues(pauses)
    consumers = context.app.control.consumers(timeout) if timeout else None
    if as_json:
        context.document({"paused": [one.queue for one in pauses], "not_heeded_by": _deaf(consumers, names)})
        return
    click.echo(f"Paused {', '.join(one.queue for one in pauses)}.")
    for queue, nodes in _deaf(consumers, names).items():
        context.note(
            f"{', '.join(nodes)} of Celery know no pauses and go on taking from {queue}. To stop one until its next start: "
            f"celery control cancel_consumer {queue} -d NODE"
        )


@queues.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_queues)
@click.option("--all", "everything", is_flag=True, help="All that are paused.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def resume(context: CliContext, names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Let nodes take from these queues again."""
    if bool(names) is everything:
        raise click.UsageError("say which queues, or --all")
    wanted = list(dict.fromkeys(names))
    if everything:
        with closing(context.app.stores.open_coordination()) as coordination:
            wanted = [one.queue for one in coordination.pauses()]
    resumed = context.app.control.resume_queues(wanted)
    idle = [name for name in wanted if name not in resumed]
    if as_json:
        context.document({"resumed": resumed, "not_paused": idle})
        return
    if resumed or not idle:
        click.echo(f"Resumed {', '.join(resumed) or 'nothing: no queue is paused'}.")
    if idle:
        context.note(f"not paused: {', '.join(idle)}")


def _row(state: QueueState) -> tuple[Any, ...]:
    counts = (getattr(state, name) for name in COUNTS)
    oldest = "" if not state.ready else "?" if state.oldest_s is None else _age(state.oldest_s)
    consumers = "?" if state.consumers is None else ", ".join(state.consumers)
    return state.queue, *counts, oldest, consumers, describe(state.paused) if state.paused is not None else ""


def _age(seconds: float) -> str:
    """ "12 s", "3 min 20 s", "5 h 12 min", "2 d 3 h"."""
    whole = int(seconds)
    for size, name, less, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // less} {smaller}"
    return f"{whole} s"


def _note_silence(context: CliContext, consumers: Consumers | None) -> None:
    if consumers is not None and consumers.silent:
        context.note(f"no answer from {', '.join(consumers.silent)}: what they consume is not shown")


def _refuse_unknown(context: CliContext, names: Sequence[str]) -> None:
    with broker_of(context.app) as broker:
        known = known_queues(context.app, broker)
    for name in names:
        if name not in known:
            raise click.UsageError(f"nobody knows a queue {name!r}.{hint(name, known)} --force pauses it all the same")


def _whoever() -> str:
    """Who gives the order, for people: "alice@web1"."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return f"{user}@{socket.gethostname()}"


def _deaf(consumers: Consumers | None, names: Sequence[str]) -> dict[str, list[str]]:
    """The workers of Celery that take from these queues."""
    if consumers is None:
        return {}
    found = {name: [node for node in consumers.by_queue.get(name, ()) if node in consumers.celery] for name in names}
    return {name: nodes for name, nodes in found.items() if nodes}
