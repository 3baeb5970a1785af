"""What `status`, `inspect` and `control` have in common: options, the table of commands, how answers are printed.

The text is Celery's, because people read it with scripts; `--json` is one document.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import click

from sedano.app.commands import CommandInfo
from sedano.app.panel import Panel
from sedano.cli.completing import complete_nodes
from sedano.cli.context import CliContext
from sedano.cli.types import COMMA_LIST, SECONDS

EX_UNAVAILABLE = 69
NOBODY = "No nodes replied within time constraint"
_WIDTH, _INDENT = 80, 34


def asking_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that all three take."""
    options = (
        click.option("-t", "--timeout", type=SECONDS, help="Seconds to wait for answers (1.0)."),
        click.option(
            "-d",
            "--destination",
            type=COMMA_LIST,
            shell_complete=complete_nodes,
            help="Comma separated list of node names to ask.",
        ),
        click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document."),
    )
    return functools.reduce(lambda decorated, decorate: decorate(decorated), reversed(options), function)


def commands(context: CliContext, kind: str) -> dict[str, CommandInfo]:
    """The visible commands of a kind, the app's own among them, by name."""
    if context.app_name is not None:
        context.app.loader.import_default_modules()  # where the user's own commands are
    return {name: Panel.meta[name] for name in sorted(Panel.meta) if Panel.meta[name].type == kind and Panel.meta[name].visible}


def list_commands(context: CliContext, kind: str, known: Iterable[CommandInfo], *, as_json: bool) -> None:
    """The page of `--list`."""
    if as_json:
        context.document([{"name": info.name, "signature": info.signature or "", "help": info.help} for info in known])
        return
    formatter = click.HelpFormatter(width=_WIDTH)
    with formatter.section(f"{kind.capitalize()} Commands"):
        formatter.write_dl([(f"{info.name} {info.signature or ''}".strip(), info.help) for info in known], col_max=_INDENT - 4)
    click.echo(formatter.getvalue(), nl=False)


def find(known: dict[str, CommandInfo], word: str, kind: str, ctx: click.Context) -> CommandInfo:
    if word not in known:
        raise click.UsageError(f"Command {word} not recognized. Available {kind} commands: {', '.join(known)}", ctx)
    return known[word]


def arguments_of(info: CommandInfo, words: Iterable[str], ctx: click.Context) -> dict[str, Any]:
    try:
        return info.arguments(list(words))
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx) from exc


def show_answer(node: str, answer: Any, *, with_body: bool = True) -> None:
    """One node's answer, as Celery prints it."""
    if isinstance(answer, dict) and "error" in answer:
        click.echo(f"->  {node}: ERROR\n{_indented(str(answer['error']), 8)}")
        return
    click.echo(f"->  {node}: OK")
    if with_body:
        click.echo(_body(answer))


def show_answers(answers: dict[str, Any]) -> None:
    for node, answer in answers.items():
        show_answer(node, answer)


def _body(answer: Any) -> str:
    if isinstance(answer, dict) and set(answer) == {"ok"}:
        return _indented(str(answer["ok"]), 8)
    if isinstance(answer, list | tuple):
        return _indented("\n".join(f"* {item}" for item in answer) or "- empty -", 4)
    if isinstance(answer, dict):
        return _indented(json.dumps(answer, indent=4, sort_keys=True, ensure_ascii=False, default=str), 4)
    return _indented(str(answer), 4)


def _indented(text: str, by: int) -> str:
    return "\n".join(f"{' ' * by}{line}" for line in text.split("\n"))


def online(count: int) -> str:
    return f"\n{count} {'node' if count == 1 else 'nodes'} online."


def nobody(ctx: click.Context, empty: Any = None) -> None:
    """`empty` is the document that says so, with --json."""
    if empty is not None:
        ctx.ensure_object(CliContext).document(empty)
    click.echo(f"Error: {NOBODY}", err=True)
    ctx.exit(EX_UNAVAILABLE)
