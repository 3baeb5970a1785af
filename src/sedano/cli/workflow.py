"""`sedano workflow`: how far chains, groups and chords are, what their parts wait for, and how to end them."""

from __future__ import annotations

from datetime import datetime

import click
import msgspec

from sedano.app.flows import Listed
from sedano.cli.context import CliContext, pass_context
from sedano.cli.types import SIGNAL
from sedano.exceptions import WorkflowNotFound

COLUMNS = ("id", "state", "over", "calls", "sent", "what")
STATES = ("running", "waiting", "failed", "cancelled", "done")


@click.group()
def workflow() -> None:
    """Look at workflows (chains, groups, chords), and cancel them.

    An ID is that of a workflow's result, or of any call or group in it.
    """


@workflow.command()
@click.argument("id_", metavar="ID")
@click.option("--all", "everything", is_flag=True, help="Every member of a group, also of many that are alike.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def show(context: CliContext, id_: str, everything: bool, as_json: bool) -> None:
    """Draw the tree of the workflow ID: the state and time of each part, and what it waits for."""
    workflows = context.app.workflows
    try:
        if as_json:
            context.document(msgspec.to_builtins(workflows.get(id_)))
        else:
            click.echo(workflows.show(id_, everything=everything))
    except WorkflowNotFound as error:
        raise click.ClickException(str(error)) from None


@workflow.command("list")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("-s", "--state", "chosen", type=click.Choice(STATES), multiple=True, help="Only these; may be repeated.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def list_(context: CliContext, limit: int, chosen: tuple[str, ...], as_json: bool) -> None:
    """List workflows, the newest first."""
    found = context.app.workflows.recent(limit=limit, state=chosen or None)
    rows = [_row(one, context) for one in found]
    if as_json:
        context.document([dict(zip(COLUMNS, row, strict=True)) for row in rows])
        return
    context.table(COLUMNS, rows, right=("over", "calls"))
    if not rows:
        context.note("there is no such workflow")


def _row(one: Listed, context: CliContext) -> tuple[str, str, int, int, str, str]:
    sent = datetime.fromtimestamp(one.sent_at, context.app.timezone).isoformat(timespec="seconds")
    return one.id, one.summary.state, one.summary.done, one.summary.total, sent, one.what


@workflow.command()
@click.argument("id_", metavar="ID")
@click.option("-t", "--terminate", is_flag=True, help="Also end the calls that run.")
@click.option("-s", "--signal", type=SIGNAL, default="SIGTERM", show_default=True, help="With which signal.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def cancel(context: CliContext, id_: str, terminate: bool, signal: str, as_json: bool) -> None:
    """Cancel the workflow ID: what has not begun never runs and is REVOKED, and nothing comes after what runs."""
    try:
        done = context.app.workflows.cancel(id_, terminate=terminate, signal=signal)
    except (WorkflowNotFound, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        context.document(msgspec.to_builtins(done))
        return
    runs = "told to end" if terminate else "running on to their end"
    click.echo(f"{done.id}: {len(done.revoked)} calls revoked, {len(done.running)} {runs}, {done.over} were over")
