"""`sedano inspect COMMAND`: ask the workers, ours and Celery's."""

from __future__ import annotations

import click

from sedano.cli.asking import arguments_of, asking_options, commands, find, list_commands, nobody, online, show_answers
from sedano.cli.completing import complete_commands
from sedano.cli.context import CliContext


@click.command(context_settings={"allow_extra_args": True})
@click.argument("command", required=False, metavar="COMMAND", shell_complete=complete_commands("inspect"))
@asking_options
@click.option("--list", "lists", is_flag=True, help="Show the commands that there are.")
@click.pass_context
def inspect(
    ctx: click.Context, command: str | None, timeout: float | None, destination: list[str] | None, as_json: bool, lists: bool
) -> None:
    """Ask the workers. COMMAND is: active, active_queues, ping, registered, scheduled, stats, … (--list shows all)."""
    context = ctx.ensure_object(CliContext)
    known = commands(context, "inspect")
    if lists:
        list_commands(context, "inspect", known.values(), as_json=as_json)
        return
    if command is None:
        raise click.UsageError("Missing argument 'COMMAND'.", ctx)
    info = find(known, command, "inspect", ctx)
    replies = context.app.control.inspect(
        destination=destination,
        timeout=info.default_timeout if timeout is None else timeout,
        callback=None if as_json else show_answers,
    )._request(command, **arguments_of(info, ctx.args, ctx))
    if not replies:
        nobody(ctx, {} if as_json else None)
    elif as_json:
        context.document(replies)
    else:
        click.echo(online(len(replies)))
