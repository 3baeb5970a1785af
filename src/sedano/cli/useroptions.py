"""Options that an app adds to commands: `app.user_options["preload"]` to all of them, `app.user_options["worker"]` to one.

An app is loaded for its options only where somebody uses them or asks for help. The values go to receivers of
`user_preload_options` before the command begins, to the node (`celeryd_init`, `options`) for `worker`, and to a plugin's
function where that takes them.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import click

from sedano import signals

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.cli.context import CliContext

_VALUES = "sedano.cli.useroptions"


def adopt(command: click.Command, *, plugin: bool = False) -> click.Command:
    """A copy of a command of the first level that takes the app's options too. Those of a plugin are looked up at once: it may
    take any word as its own."""
    adopted = copy.copy(command)
    adopted.params = [*command.params]
    # Bound to the copy; the command's class, which may be somebody else's, stays what it is.
    parse = command.__class__.parse_args
    invoke = command.__class__.invoke

    def parse_args(ctx: click.Context, args: list[str]) -> list[str]:
        wants_help = any(word in ctx.help_option_names for word in args)
        if ctx.resilient_parsing or plugin or wants_help:
            _add(adopted, _options_of(ctx, adopted))
        try:
            return parse(adopted, ctx, list(args))
        except click.NoSuchOption:
            if not _add(adopted, _options_of(ctx, adopted)):
                raise
            return parse(adopted, ctx, list(args))

    def invoke_told(ctx: click.Context) -> Any:
        added = [param.name for param in adopted.params if param not in command.params]
        values = ctx.meta[_VALUES] = {name: ctx.params[name] for name in added if name in ctx.params}
        for name in values:
            if not (plugin and _takes(command.callback, name)):
                del ctx.params[name]
        context = _context_of(ctx)
        if context is not None and context.has_app:
            tell(ctx, context.app)
        return invoke(adopted, ctx)

    setattr(adopted, "parse_args", parse_args)  # noqa: B010 - type checkers do not like methods of one object
    setattr(adopted, "invoke", invoke_told)  # noqa: B010
    return adopted


def values_of(ctx: click.Context, app: Celery, command: str) -> dict[str, Any]:
    """What was given for the options of `app`, or their defaults, by name."""
    given = ctx.meta.get(_VALUES, {})
    params = [param for kind in ("preload", command) for param in app.user_options[kind] if isinstance(param, click.Option)]
    return {param.name: given[param.name] if param.name in given else param.get_default(ctx) for param in params if param.name}


def tell(ctx: click.Context, app: Celery) -> None:
    """Send `user_preload_options`, if the app has such options. To be called when the app and the words are known."""
    names = {param.name for param in app.user_options["preload"] if isinstance(param, click.Option)}
    if names:
        values = {name: value for name, value in values_of(ctx, app, "preload").items() if name in names}
        signals.user_preload_options.send(ctx.command.callback, app=app, options=values)


def tell_now(app: Celery) -> None:
    """As `tell`, for the command that runs; nothing while its words are still read."""
    ctx = click.get_current_context(silent=True)
    while ctx is not None and _VALUES not in ctx.meta:
        ctx = ctx.parent
    if ctx is not None:
        tell(ctx, app)


def _context_of(ctx: click.Context) -> CliContext | None:
    from sedano.cli.context import CliContext  # noqa: PLC0415 - each knows the other

    return ctx.find_object(CliContext)


def _options_of(ctx: click.Context, command: click.Command) -> list[click.Option]:
    """What the app adds to `command`; nothing without an app. What the app's modules raise comes through, except while a shell
    completes a word or somebody reads the help."""
    context = _context_of(ctx)
    if ctx.resilient_parsing:
        from sedano.cli.completing import ask_app  # noqa: PLC0415

        found: list[click.Option] = ask_app(ctx, lambda app: _own(app, command.name), [])
        return found
    if context is None or context.app_name is None:
        return []
    return _own(context.app, command.name)


def _own(app: Celery, command: str | None) -> list[click.Option]:
    added = app.user_options
    return [param for kind in ("preload", command or "") for param in added[kind] if isinstance(param, click.Option)]


def _add(command: click.Command, options: list[click.Option]) -> bool:
    known = {param.name for param in command.params}
    more = [option for option in options if option.name not in known]
    command.params.extend(more)
    return bool(more)


def _takes(function: Any, name: str) -> bool:
    """Whether a plugin's function takes a keyword of that name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.kind is parameter.VAR_KEYWORD or (parameter.name == name and parameter.kind is not parameter.POSITIONAL_ONLY)
        for parameter in parameters
    )
