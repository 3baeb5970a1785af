"""`sedano report`: what a bug report should hold."""

from __future__ import annotations

import click

from sedano.cli.context import CliContext, pass_context


@click.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def report(context: CliContext, as_json: bool) -> None:
    """Show versions, platform, the settings that differ from the default (secrets masked), and which have no effect."""
    text = context.app.bugreport()
    if as_json:
        context.document({"report": text})
    else:
        click.echo(text)
