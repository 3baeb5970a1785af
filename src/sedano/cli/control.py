"""`sedano control COMMAND`: tell the workers what to do, ours and Celery's."""

from __future__ import annotations

import click

from sedano.cli.asking import arguments_of, asking_options, commands, find, list_commands, nobody, show_answers
from sedano.cli.completing import complete_commands
from sedano.cli.context import CliContext
from sedano.cli.types import SIGNAL


@click.command(context_settings={"allow_extra_args": True})
@click.argument("command", required=False, metavar="COMMAND", shell_complete=complete_commands("control"))
@asking_options
@click.option("--list", "lists", is_flag=True, help="Show the commands that there are.")
@click.option("--terminate", is_flag=True, help="With revoke: end the calls that run, too.")
@click.option("-s", "--signal", type=SIGNAL, help="With revoke --terminate: the signal to end them with (SIGTERM).")
@click.pass_context
def control(
    ctx: click.Context,
    command: str | None,
    timeout: float | None,
    destination: list[str] | None,
    as_json: bool,
    lists: bool,
    terminate: bool,
    signal: str | None,
) -> None:
    """Tell the workers what to do. COMMAND is: add_consumer, revoke, rate_limit, pool_grow, shutdown, … (--list shows all)."""
    context = ctx.ensure_object(CliContext)
    known = commands(context, "control")
    if lists:
        list_commands(context, "control", known.values(), as_json=as_json)
        return
    if command is None:
        raise click.UsageError("Missing argument 'COMMAND'.", ctx)
    info = find(known, command, "control", ctx)
    arguments = arguments_of(info, ctx.args, ctx)
    told = {
        "destination": destination,
        "reply": True,
        "timeout": info.default_timeout if timeout is None else timeout,
        "callback": None if as_json else show_answers,
    }
    caller = context.app.control
    if command.startswith("revoke") or command == "terminate":
        terminate = terminate or command == "terminate"
        named = arguments.get("signal")  # of the command `terminate`
        ending = {"terminate": terminate, "signal": SIGNAL.convert(named, None, ctx) if named else signal}
        if command == "revoke_by_stamped_headers":
            replies = caller.revoke_by_stamped_headers(_stamps(arguments["headers"], ctx), **ending, **told)
        else:
            replies = caller.revoke(arguments["task_id"], **ending, **told)
    elif terminate or signal:
        raise click.UsageError("--terminate and --signal belong to revoke", ctx)
    else:
        replies = caller.broadcast(command, arguments, **told)
    if not replies:
        nobody(ctx, [] if as_json else None)
    elif as_json:
        context.document(replies)


def _stamps(words: list[str], ctx: click.Context) -> dict[str, str]:
    pairs = [word.split("=", 1) for word in words]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise click.UsageError("give stamps as NAME=VALUE", ctx)
    return dict(pairs)
