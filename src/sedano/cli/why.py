"""`sedano why ID`: why a call does not run, or how it ended."""

from __future__ import annotations

import click
import msgspec

from sedano.cli.context import CliContext

EX_NOT_SUCCEEDED, EX_BLOCKED, EX_UNKNOWN = 1, 3, 4


@click.command()
@click.argument("task_id", metavar="ID")
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    help="Seconds to wait for the answers of workers, to each question.",
)  # fmt: skip
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def why(ctx: click.Context, task_id: str, timeout: float, as_json: bool) -> None:
    """Tell why the call ID does not run, or how it ended: what the stores and the workers say.

    Exit code 0: it succeeded, it runs, or it waits for its turn or time. 1: it failed, or was revoked. 3: it cannot run until
    somebody does something. 4: it was found nowhere.

    \b
    sedano -A proj why 3f1c2a9e-6f0b-4f6b-8f4e-0d6f0b9f1c2a
    """
    context = ctx.ensure_object(CliContext)
    answer = context.app.why(task_id, timeout=timeout)
    if as_json:
        context.document(msgspec.to_builtins(answer))
    else:
        click.echo("\n".join(answer.lines()))
    if answer.is_blocked:
        ctx.exit(EX_BLOCKED)
    if answer.code == "unknown":
        ctx.exit(EX_UNKNOWN)
    ctx.exit(0 if answer.code == "succeeded" or not answer.is_over else EX_NOT_SUCCEEDED)
