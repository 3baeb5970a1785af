"""`sedano result ID`: wait for a call and print what it returned."""

from __future__ import annotations

import click

from sedano.cli.context import CliContext
from sedano.cli.types import SECONDS
from sedano.exceptions import NotRegistered
from sedano.exceptions import TimeoutError as ResultTimeout


@click.command()
@click.argument("task_id")
@click.option("-t", "--task", help="Name of the task, if its results live elsewhere.")
@click.option("--traceback", is_flag=True, help="Print the traceback instead of the value.")
@click.option("--timeout", type=SECONDS, help="Seconds to wait; the default waits until the call is finished.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print the whole record as one JSON document; does not wait.")
@click.pass_context
def result(ctx: click.Context, task_id: str, task: str | None, traceback: bool, timeout: float | None, as_json: bool) -> None:
    """Print the return value of the call TASK_ID. A call that failed: its traceback, and exit code 1."""
    context = ctx.ensure_object(CliContext)
    app = context.app
    try:
        found = app.tasks[task].AsyncResult(task_id) if task else app.AsyncResult(task_id)
    except NotRegistered as error:
        raise click.BadParameter(f"this app has no task {task!r}", param_hint="'-t' / '--task'") from error
    if as_json:
        failed = found.failed()
        context.document(
            {
                "id": task_id,
                "state": found.state,
                "result": repr(found.result) if failed else found.result,
                "traceback": found.traceback,
                "date_done": found.date_done,
            }
        )
        ctx.exit(1 if failed else 0)
    if traceback:
        click.echo(found.traceback)
        return
    try:
        value = found.get(timeout=timeout, propagate=False)
    except ResultTimeout:
        raise click.ClickException(f"call {task_id} is {found.state} after {timeout:g} s") from None
    if found.successful():
        click.echo(value)
        return
    click.echo(f"{(found.traceback or '').rstrip()}\n{type(value).__name__}: {value}".lstrip("\n"), err=True)
    ctx.exit(1)
