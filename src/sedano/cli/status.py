"""`sedano status`: who is there."""

from __future__ import annotations

from typing import Any

import click

from sedano.cli.asking import asking_options, nobody, online, show_answer
from sedano.cli.context import CliContext


@click.command()
@asking_options
@click.pass_context
def status(ctx: click.Context, timeout: float | None, destination: list[str] | None, as_json: bool) -> None:
    """Show the workers that are online."""
    context = ctx.ensure_object(CliContext)
    replies = context.app.control.inspect(
        destination=destination,
        timeout=1.0 if timeout is None else timeout,
        callback=None if as_json else _show,
    ).ping()
    if not replies:
        nobody(ctx, {} if as_json else None)
        return
    if as_json:
        context.document(replies)
        context.note(online(len(replies)))
    else:
        click.echo(online(len(replies)))


def _show(answers: dict[str, Any]) -> None:
    for node, answer in answers.items():
        show_answer(node, answer, with_body=False)
