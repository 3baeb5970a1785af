"""`sedano schedule …`: entries of the schedule, while beats run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

import click
import msgspec

from sedano.app.entries import Definition
from sedano.app.reconciling import changed_keys, compare
from sedano.app.schedules import PastRun, ScheduledEntry
from sedano.cli.completing import complete_queues, complete_tasks
from sedano.cli.context import CliContext, pass_context
from sedano.cli.types import ISO_TIME, JSON_ARRAY, JSON_OBJECT
from sedano.exceptions import ImproperlyConfigured, ScheduleConflict, ScheduleNotFound
from sedano.rules.ticks import Misfire, Overlap
from sedano.schedules import clocked, solar
from sedano.schedules.data import from_data
from sedano.schedules.intervals import schedule as interval

_JSON = click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
_NAME = click.argument("name")
_MISFIRE, _OVERLAP = (click.Choice([each.value for each in kind]) for kind in (Misfire, Overlap))


def _said(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a user can mend is one line, not a trace."""

    @functools.wraps(command)
    def inner(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (ScheduleNotFound, ScheduleConflict, ImproperlyConfigured, TypeError, ValueError) as exc:
            raise click.ClickException(str(exc)) from exc

    return inner


@click.group()
def schedule() -> None:
    """Show what is sent when; make, change, pause and delete entries while beats run; look at what became of each moment."""


# -- making and changing ----------------------------------------------------------------------------------------------------


def _when_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--every", type=float, help="Every so many seconds."),
            click.option(
                "--cron", help='As a line of cron: "minute hour day month weekday", or six fields with seconds first.'
            ),
            click.option("--at", type=ISO_TIME, help="Once, at this time (ISO 8601)."),
            click.option("--sun", help="At sunrise, sunset, dawn_civil ... of a place: EVENT,LATITUDE,LONGITUDE."),
            click.option("--tz", help="The time zone that it is meant in; without, the app's."),
        )
    ):
        command = option(command)
    return command


def _entry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("-a", "--args", type=JSON_ARRAY, help="Positional arguments, a JSON array."),
            click.option("-k", "--kwargs", type=JSON_OBJECT, help="Keyword arguments, a JSON object."),
            click.option("--queue", shell_complete=complete_queues, help="Queue to send to."),
            click.option("--priority", type=int, help="Priority of the calls."),
            click.option("--expires", type=float, help="Calls that have not begun after so many seconds are dropped."),
            click.option("--headers", type=JSON_OBJECT, help="Headers of the messages, a JSON object."),
            click.option("--start", type=ISO_TIME, help="Not before this time."),
            click.option("--end", type=ISO_TIME, help="Not after this time."),
            click.option("--jitter", type=float, help="Each moment is late by up to so many seconds, the same for every beat."),
            click.option("--max-runs", type=int, help="Over after so many calls."),
            click.option(
                "--misfire",
                type=_MISFIRE,
                help="What is done for moments that were missed.",
            ),
            click.option("--misfire-window", type=float, help="With misfire all: how old a moment may be, in seconds."),
            click.option(
                "--overlap",
                type=_OVERLAP,
                help="What is done while the call before is not over.",
            ),
            click.option("--description", help="A sentence for people."),
        )
    ):
        command = option(command)
    return command


@schedule.command()
@_NAME
@click.argument("task", shell_complete=complete_tasks)
@_when_options
@_entry_options
@click.option("--paused", is_flag=True, help="Send nothing until it is resumed.")
@click.option("--replace", is_flag=True, help="Replace an entry of this name.")
@_JSON
@pass_context
@_said
def create(context: CliContext, /, name: str, task: str, as_json: bool, **options: Any) -> None:
    """Make the entry NAME that sends calls of TASK."""
    when = _when(options)
    if when is None:
        raise click.UsageError("say when: --every SECONDS, --cron LINE, --at TIME or --sun EVENT,LATITUDE,LONGITUDE")
    made = context.app.schedules.create(name, task, when, **_given(options))
    if task not in context.app.tasks:
        context.note(f"The task {task} is not known here: workers must know it.")
    _show(context, made, as_json)


@schedule.command()
@_NAME
@_when_options
@_entry_options
@_JSON
@pass_context
@_said
def update(context: CliContext, /, name: str, as_json: bool, **options: Any) -> None:
    """Change what is given of the entry NAME; the rest stays."""
    when = _when(options)
    changes = _given(options) if when is None else {"schedule": when, **_given(options)}
    if not changes:
        raise click.UsageError("say what is to change")
    _show(context, context.app.schedules.update(name, **changes), as_json)


@schedule.command()
@_NAME
@_JSON
@pass_context
@_said
def pause(context: CliContext, /, name: str, as_json: bool) -> None:
    """Send nothing for NAME until it is resumed."""
    _show(context, context.app.schedules.pause(name), as_json)


@schedule.command()
@_NAME
@_JSON
@pass_context
@_said
def resume(context: CliContext, /, name: str, as_json: bool) -> None:
    """Let NAME go on, from its next moment."""
    _show(context, context.app.schedules.resume(name), as_json)


@schedule.command()
@_NAME
@_JSON
@pass_context
@_said
def delete(context: CliContext, /, name: str, as_json: bool) -> None:
    """Forget the entry NAME and its history."""
    context.app.schedules.delete(name)
    context.document({"deleted": name}) if as_json else click.echo(f"Deleted {name}.")


@schedule.command("run")
@_NAME
@_JSON
@pass_context
@_said
def run_now(context: CliContext, /, name: str, as_json: bool) -> None:
    """Send the call of NAME now, besides its own moments, and print its id."""
    sent = context.app.schedules.run_now(name)
    context.document({"id": sent.id, "name": name}) if as_json else click.echo(sent.id)


# -- looking ----------------------------------------------------------------------------------------------------------------


@schedule.command("list")
@click.argument("prefix", default="")
@_JSON
@pass_context
def list_entries(context: CliContext, prefix: str, as_json: bool) -> None:
    """Show all entries, or those whose names begin with PREFIX."""
    entries = context.app.schedules.list(prefix)
    if as_json:
        context.document([_plain(entry) for entry in entries])
        return
    columns = ("name", "task", "when", "next run", "last run", "runs", "state", "from")
    context.table(columns, map(_row, entries), right=("runs",))


@schedule.command()
@_NAME
@_JSON
@pass_context
@_said
def show(context: CliContext, /, name: str, as_json: bool) -> None:
    """Show everything of the entry NAME."""
    _show(context, context.app.schedules.get(name), as_json)


@schedule.command("next")
@_NAME
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many.")
@_JSON
@pass_context
@_said
def next_runs(context: CliContext, /, name: str, count: int, as_json: bool) -> None:
    """Show when NAME is due next."""
    runs = [run.isoformat() for run in context.app.schedules.next_runs(name, count)]
    if as_json:
        context.document(runs)
    elif runs:
        click.echo("\n".join(runs))
    else:
        context.note(f"{name} is not due any more: it is paused, or over.")


@schedule.command()
@click.argument("name", required=False)
@click.option("-n", "count", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
@_JSON
@pass_context
@_said
def history(context: CliContext, /, name: str | None, count: int, as_json: bool) -> None:
    """Show what became of the last moments, of NAME or of all entries: the call, how late it was, or why there was none."""
    runs = context.app.schedules.history(name, count)
    if as_json:
        context.document([{**msgspec.to_builtins(run), "lateness": run.lateness} for run in runs])
        return
    context.table(("name", "due", "late (s)", "call", "reason"), map(_run_row, runs), right=("late (s)",))


@schedule.command()
@_JSON
@pass_context
def diff(context: CliContext, as_json: bool) -> None:
    """Show how beat_schedule differs from what the store keeps: what the next beat that starts brings in line. Exits with 1
    when it differs."""
    from sedano.beat.storescheduler import StoreScheduler, all_entries  # noqa: PLC0415 - wanted by this command only

    scheduler = StoreScheduler(context.app)
    with closing(context.app.stores.open_schedules(scheduler.space)) as schedules:
        found = compare(scheduler.definitions(), all_entries(schedules))
    if as_json:
        changed = {name: changed_keys(*both) for name, both in found.changed.items()}
        names = {key: sorted(getattr(found, key)) for key in ("new", "gone", "same", "taken", "unreadable")}
        context.document({**names, "changed": changed})
    else:
        for mark, those in (("+", found.new), ("-", found.gone), ("!", found.taken), ("?", found.unreadable)):
            for name in those:
                click.echo(f"{mark} {name}")
        for name, (before, after) in found.changed.items():
            click.echo(f"~ {name}")
            for key in changed_keys(before, after):
                click.echo(f"    {key}: {_value(before, key)} -> {_value(after, key)}")
        if found.taken:
            context.note("! entries of beat_schedule whose names are taken by entries made at run time: they are left out.")
        if not found:
            context.note("No difference.")
    sys.exit(1 if found else 0)


@schedule.command()
@click.option("--pile", type=click.IntRange(2), default=100, show_default=True, help="So many calls in one second pile up.")
@_JSON
@pass_context
def lint(context: CliContext, pile: int, as_json: bool) -> None:
    """Show what is odd: what piles up at one second, what never fires, what fires twice or not at all where the clocks change.
    Exits with 1 when there is something."""
    found = context.app.schedules.lint(pile=pile)
    if as_json:
        context.document([msgspec.to_builtins(finding) for finding in found])
    else:
        for finding in found:
            click.echo(f"{finding.kind}: {', '.join(finding.names)}: {finding.text}")
        if not found:
            context.note("Nothing is odd.")
    sys.exit(1 if found else 0)


# -- parts ------------------------------------------------------------------------------------------------------------------


def _when(options: dict[str, Any]) -> Any:
    """The schedule that the options name, which are taken out; None when none is. Raises UsageError for several."""
    tz = options.pop("tz")
    given = {key: value for key in ("every", "cron", "at", "sun") if (value := options.pop(key)) is not None}
    if len(given) > 1:
        raise click.UsageError(f"one schedule at a time: {', '.join('--' + key for key in given)}")
    if not given:
        if tz is not None:
            raise click.UsageError("--tz goes with --cron, --at, --every or --sun")
        return None
    ((kind, value),) = given.items()
    if kind == "every":
        return interval(value, tz=tz)
    if kind == "cron":
        return from_data({"crontab": " ".join(value.split()), **({} if tz is None else {"tz": tz})})
    if kind == "at":
        return clocked(value, tz=tz)
    parts = value.split(",")
    try:
        event, latitude, longitude = parts[0], float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise click.UsageError(f"--sun is EVENT,LATITUDE,LONGITUDE such as sunrise,52.5,13.4, not {value!r}") from None
    return solar(event, latitude, longitude, tz=tz)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _show(context: CliContext, entry: ScheduledEntry, as_json: bool) -> None:
    plain = _plain(entry)
    if as_json:
        context.document(plain)
        return
    for key, value in plain.items():
        if value not in (None, "", [], {}):
            click.echo(f"{key}: {value}")


def _plain(entry: ScheduledEntry) -> dict[str, Any]:
    policies = msgspec.to_builtins(entry.definition)
    for key in ("task", "when", "call", "shown", "source", "paused"):
        policies.pop(key, None)
    return {
        "name": entry.name,
        "task": entry.task,
        "schedule": entry.shown,
        "args": entry.args,
        "kwargs": entry.kwargs,
        "options": entry.options,
        "next_run": _time(entry.next_run),
        "last_run": _time(entry.last_run),
        "last_id": entry.last_id,
        "total": entry.total,
        "state": _state(entry),
        "source": entry.source,
        "policies": policies,
    }


def _state(entry: ScheduledEntry) -> str:
    return "paused" if entry.paused else "over" if entry.is_over else "active"


def _row(entry: ScheduledEntry) -> tuple[Any, ...]:
    times = _time(entry.next_run), _time(entry.last_run)
    return (entry.name, entry.task, entry.shown, *times, entry.total, _state(entry), entry.source)


def _run_row(run: PastRun) -> tuple[Any, ...]:
    reason = "asked for by hand" if run.manual else run.reason
    return run.name, run.due.isoformat(timespec="milliseconds"), f"{run.lateness:.3f}", run.task_id, reason


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _value(definition: Definition, key: str) -> str:
    return repr(getattr(definition, key))
