"""`sedano inspect ping`: who is there. The other questions come with remote control."""

from __future__ import annotations

import click

from sedano.cli.context import CliContext
from sedano.cli.types import COMMA_LIST

EX_UNAVAILABLE = 69
KNOWN = ("ping",)


@click.command(context_settings={"allow_extra_args": True})
@click.argument("command")
@click.option("-t", "--timeout", type=float, default=1.0, show_default=True, help="Seconds to wait for answers.")
@click.option("-d", "--destination", type=COMMA_LIST, help="Comma separated list of node names to ask.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def inspect(ctx: click.Context, command: str, timeout: float, destination: list[str] | None, as_json: bool) -> None:
    """Ask the workers. COMMAND is: ping."""
    if command not in KNOWN:
        raise click.UsageError(f"Command {command} not recognized. Available inspect commands: {', '.join(KNOWN)}", ctx)
    context = ctx.ensure_object(CliContext)
    replies = context.app.control.inspect(destination=destination, timeout=timeout).ping()
    if not replies:
        click.echo("Error: No nodes replied within time constraint", err=True)
        ctx.exit(EX_UNAVAILABLE)
    if as_json:
        context.document(replies)
        return
    for node, reply in replies.items():
        click.echo(f"->  {node}: OK\n        {reply.get('ok', reply)}")
    count = len(replies)
    click.echo(f"\n{count} node{'s' if count != 1 else ''} online.")
