"""`sedano call NAME`: send one call and print its id."""

from __future__ import annotations

from typing import Any

import click

from sedano.cli.completing import complete_queues, complete_tasks
from sedano.cli.context import CliContext, pass_context
from sedano.cli.types import ISO_TIME, ISO_TIME_OR_SECONDS, JSON_ARRAY, JSON_OBJECT
from sedano.protocol.serializers.registry import known_type


@click.command()
@click.argument("name", shell_complete=complete_tasks)
@click.option("-a", "--args", type=JSON_ARRAY, default="[]", help="Positional arguments, a JSON array.")
@click.option("-k", "--kwargs", type=JSON_OBJECT, default="{}", help="Keyword arguments, a JSON object.")
@click.option("--eta", type=ISO_TIME, help="Earliest start, ISO 8601.")
@click.option("--countdown", type=float, help="Seconds until the earliest start.")
@click.option("--expires", type=ISO_TIME_OR_SECONDS, help="Do not start after this time (ISO 8601) or these seconds.")
@click.option("--serializer", default="json", help="Serializer of the message.")
@click.option("--queue", shell_complete=complete_queues, help="Queue to send to.")
@click.option("--exchange", help="Exchange to send to.")
@click.option("--routing-key", help="Routing key to send with.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_context
def call(context: CliContext, /, name: str, as_json: bool, **options: Any) -> None:
    """Call the task NAME, which need not be importable here, and print the id of the call."""
    arguments, keywords = options.pop("args"), options.pop("kwargs")
    given = {key: value for key, value in options.items() if value is not None}
    app = context.app
    if known_type(given["serializer"]) is None:
        raise click.BadParameter(f"there is no serializer {given['serializer']!r}", param_hint="'--serializer'")
    try:
        sent = app.send_task(name, args=arguments, kwargs=keywords, **given)
    except ValueError as error:  # a time that is no time
        raise click.UsageError(str(error)) from error
    if as_json:
        context.document({"id": sent.id, "task": name})
    else:
        click.echo(sent.id)
