"""Kinds of option values."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # not generic before click 8.2
    ParamType = click.ParamType


class JsonValue(ParamType):
    """JSON of one kind; anything else is a usage error that shows the position."""

    def __init__(self, kind: type, name: str) -> None:
        self.kind, self.name = kind, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, self.kind):
            return value
        try:
            parsed = json.loads(value)
        except ValueError as error:
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)
        if not isinstance(parsed, self.kind):
            self.fail(f"{value!r} is JSON, but not {self.name}", param, ctx)
        return parsed


class CommaList(ParamType):
    """Words joined by commas."""

    name = "comma separated list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        del param, ctx
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        return list(value)


class IsoTime(ParamType):
    """ISO 8601 date and time."""

    name = "iso-8601"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class IsoTimeOrSeconds(IsoTime):
    """ISO 8601, or a number of seconds."""

    name = "iso-8601 or float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


class Seconds(ParamType):
    """A number of seconds, 0 or more."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} is no number of seconds: give 0 or more", param, ctx)
        return seconds


class SignalName(ParamType):
    """A signal by name or number, as its name."""

    name = "signal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from sedano.app.control import signal_name  # noqa: PLC0415 - `--help` does not need it

        try:
            return signal_name(int(value) if str(value).isdecimal() else value)
        except ValueError:
            self.fail(f"{value!r} is no signal: give a name such as SIGTERM or KILL", param, ctx)


class LogLevel(click.Choice[str]):
    """A log level in any case of letters, as its upper-case name."""

    def __init__(self) -> None:
        super().__init__(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"], case_sensitive=False)


class Concurrency(ParamType):
    """A number of slots, or `auto`; 0 leaves it to the settings."""

    name = "concurrency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str | None:
        if value == "auto":
            return "auto"
        try:
            number = int(value)
        except ValueError:
            number = -1
        if number < 0:
            self.fail(f"must be a non-negative integer or 'auto', got {value!r}", param, ctx)
        return number or None


class Autoscale(ParamType):
    """`MAX,MIN` in either order, or `MAX` alone for a minimum of 0; as the text `MAX,MIN`."""

    name = "max,min"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = str(value).split(",")
        try:
            numbers = sorted((int(word) for word in words), reverse=True)
        except ValueError:
            numbers = [-1]
        if len(numbers) > 2 or min(numbers) < 0:
            self.fail(f"Expected two comma separated integers or one integer. Got {value} instead.", param, ctx)
        return f"{numbers[0]},{numbers[1] if len(numbers) == 2 else 0}"


JSON_ARRAY = JsonValue(list, "json array")
JSON_OBJECT = JsonValue(dict, "json object")
COMMA_LIST = CommaList()
SECONDS = Seconds()
SIGNAL = SignalName()
ISO_TIME = IsoTime()
ISO_TIME_OR_SECONDS = IsoTimeOrSeconds()
LOG_LEVEL = LogLevel()
CONCURRENCY = Concurrency()
AUTOSCALE = Autoscale()
