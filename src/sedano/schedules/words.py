"""Schedules in words, English and Chinese: `in_words(crontab(30, 7, "mon-fri"), "zh")` is "每周一至周五 07:30"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from sedano.schedules.base import BaseSchedule
from sedano.schedules.crontabs import ZERO, crontab
from sedano.schedules.fields import stretches
from sedano.schedules.intervals import schedule
from sedano.schedules.oneoff import clocked
from sedano.schedules.sunlight import solar
from sedano.schedules.zones import zone_text

Language = Literal["en", "zh"]

MOST_TIMES = 6
"""So many times of a day are listed one by one."""

_DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
}
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_EVENTS = {
    "dawn_astronomical": ("astronomical dawn", "天文晨光始"),
    "dawn_nautical": ("nautical dawn", "航海晨光始"),
    "dawn_civil": ("civil dawn", "民用晨光始"),
    "sunrise": ("sunrise", "日出"),
    "solar_noon": ("solar noon", "太阳正午"),
    "sunset": ("sunset", "日落"),
    "dusk_civil": ("civil dusk", "民用昏影终"),
    "dusk_nautical": ("nautical dusk", "航海昏影终"),
    "dusk_astronomical": ("astronomical dusk", "天文昏影终"),
}
_UNITS = ((86400, "day", "天"), (3600, "hour", "小时"), (60, "minute", "分钟"), (1, "second", "秒"))
_WHOLE = {86400: ("at midnight", "零点"), 3600: ("on the hour", "整点"), 60: ("on the minute", "整分")}


def in_words(schedule: BaseSchedule, language: Language = "en") -> str:
    """What `schedule` means, for people; a kind of the user's own as its repr. Raises ValueError for another language."""
    if language not in ("en", "zh"):
        raise ValueError(f"there are no words in {language!r}: 'en' or 'zh'")
    for kind, tell in _KINDS.items():
        if isinstance(schedule, kind):
            return tell(schedule, language)
    return repr(schedule)


# -- crontab ------------------------------------------------------------------------------------------------------------


def _crontab(given: crontab, language: Language) -> str:
    zone = "" if given.own_zone is None else f" ({zone_text(given.own_zone)})"
    return (_crontab_en(given) if language == "en" else _crontab_zh(given)) + zone


def _crontab_en(given: crontab) -> str:
    rhythm, times = _rhythm(given), _times(given)
    if rhythm is not None:
        time = _every_en(*rhythm)
    elif times is not None:
        time = "at " + _and(times)
    else:
        seconds = "" if given.second == ZERO else f"at {_numbered('second', given.second, 60)} of "
        minutes = (
            _every_en(*step) if (step := _step(given.minute, 60, "minute")) else f"at {_numbered('minute', given.minute, 60)}"
        )
        hours = _every_en(*step) if (step := _step(given.hour, 24, "hour")) else _numbered("hour", given.hour, 24)
        time = f"{seconds}{minutes} of {hours}"
    days = _days_en(given)
    return f"{time} {days}" if days else f"{time} every day" if times is not None and rhythm is None else time


def _days_en(given: crontab) -> str:
    weekdays = _weekdays(given, "en", " to ")
    months = [
        f"{_MONTHS[a - 1]} to {_MONTHS[b - 1]}" if a != b else _MONTHS[a - 1] for a, b in stretches(sorted(given.month_of_year))
    ]
    found: list[str] = []
    if len(given.day_of_month) < 31:
        found.append(f"on {_numbered('day', given.day_of_month, 31)} of the month")
        if weekdays:
            found.append("if it is " + _and(weekdays, "or"))
    elif weekdays:
        found.append("on " + _and(weekdays))
    if len(given.month_of_year) < 12:
        found.append("in " + _and(months))
    return " ".join(found)


def _crontab_zh(given: crontab) -> str:
    rhythm, times = _rhythm(given), _times(given)
    if rhythm is not None:
        time = _every_zh(*rhythm)
    elif times is not None:
        time = "、".join(times)
    else:
        hours = _every_zh(*step) if (step := _step(given.hour, 24, "hour")) else f"{_list_zh(given.hour)}时"
        minutes = f" {_every_zh(*step)}" if (step := _step(given.minute, 60, "minute")) else f"第{_list_zh(given.minute)}分"
        seconds = "" if given.second == ZERO else f"第{_list_zh(given.second)}秒"
        time = hours + minutes + seconds
    days = _days_zh(given)
    return f"{days} {time}" if days else f"每天 {time}" if times is not None and rhythm is None else time


def _days_zh(given: crontab) -> str:
    weekdays = "、".join(_weekdays(given, "zh", "至"))
    months = "" if len(given.month_of_year) == 12 else f"每年{_list_zh(given.month_of_year)}月"
    if len(given.day_of_month) < 31:
        days = f"{months or '每月'}{_list_zh(given.day_of_month)}日"
        return f"{days}且为{weekdays}" if weekdays else days
    if weekdays:
        return f"{months}每{weekdays}" if not months else f"{months}的每{weekdays}"
    return f"{months}每天" if months else ""


def _rhythm(given: crontab) -> tuple[int, str] | None:
    """(15, "minute") for a crontab that is the same in every hour, or minute, or every so many hours."""
    if len(given.hour) == 24 and len(given.minute) == 60:
        return (1, "minute") if given.second == ZERO else _step(given.second, 60, "second")
    if given.second != ZERO:
        return None
    if len(given.hour) == 24:
        return (1, "hour") if given.minute == ZERO else _step(given.minute, 60, "minute")
    return _step(given.hour, 24, "hour") if given.minute == ZERO else None


def _step(values: frozenset[int], count: int, unit: str) -> tuple[int, str] | None:
    """The distance when the values go round the clock in equal steps from 0."""
    step = count // len(values)
    return (step, unit) if len(values) > 1 and values == frozenset(range(0, count, step)) and count % step == 0 else None


def _times(given: crontab) -> list[str] | None:
    """The times of a day, when they are few."""
    if len(given.hour) * len(given.minute) * len(given.second) > MOST_TIMES or len(given.hour) == 24:
        return None
    seconds = [""] if given.second == ZERO else [f":{second:02d}" for second in sorted(given.second)]
    return [
        f"{hour:02d}:{minute:02d}{rest}" for hour in sorted(given.hour) for minute in sorted(given.minute) for rest in seconds
    ]


def _weekdays(given: crontab, language: Language, to: str) -> list[str]:
    if len(given.day_of_week) == 7:
        return []
    names = _DAYS[language]
    # The week begins on Monday here, so that a weekend is one stretch.
    return [
        f"{names[first]}{to}{names[last]}" if first != last else names[first]
        for first, last in stretches(sorted((day - 1) % 7 for day in given.day_of_week))
    ]


def _numbered(noun: str, values: frozenset[int], count: int) -> str:
    if len(values) == count:
        return f"every {noun}"
    parts = [f"{first} to {last}" if first != last else str(first) for first, last in stretches(sorted(values))]
    return f"{noun if len(values) == 1 else noun + 's'} {_and(parts)}"


def _list_zh(values: frozenset[int]) -> str:
    return "、".join(f"{first}至{last}" if first != last else str(first) for first, last in stretches(sorted(values)))


def _and(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def _every_en(number: int, unit: str) -> str:
    return f"every {unit}" if number == 1 else f"every {number} {unit}s"


def _every_zh(number: int, unit: str) -> str:
    chinese = next(zh for _, en, zh in _UNITS if en == unit)
    return f"每{chinese}" if number == 1 else f"每{number}{chinese}"


# -- the others ---------------------------------------------------------------------------------------------------------


def _schedule(given: schedule, language: Language) -> str:
    seconds, parts = given.seconds, list[tuple[float, str, str]]()
    for size, en, zh in _UNITS[:-1]:
        if seconds >= size:
            parts.append((seconds // size, en, zh))
            seconds %= size
    if seconds or not parts:
        parts.append((seconds, "second", "秒"))
    if language == "zh":
        text = "每" + ("".join(f"{n:g}{zh}" for n, _, zh in parts) if len(parts) > 1 or parts[0][0] != 1 else parts[0][2])
    elif len(parts) == 1 and parts[0][0] == 1:
        text = f"every {parts[0][1]}"
    else:
        text = "every " + " ".join(f"{n:g} {en}{'' if n == 1 else 's'}" for n, en, _ in parts)
    whole = next((words for size, words in _WHOLE.items() if given.seconds >= size), None) if given.relative else None
    if whole is None:
        return text
    return f"{text}, {whole[0]}" if language == "en" else f"{text}({whole[1]})"


def _solar(given: solar, language: Language) -> str:
    event_en, event_zh = _EVENTS[given.event]
    lat, lon = f"{abs(given.lat):g}°", f"{abs(given.lon):g}°"
    if language == "zh":
        return f"{event_zh}({'北' if given.lat >= 0 else '南'}纬{lat},{'东' if given.lon >= 0 else '西'}经{lon})"
    return f"at {event_en}, {lat}{'N' if given.lat >= 0 else 'S'} {lon}{'E' if given.lon >= 0 else 'W'}"


def _clocked(given: clocked, language: Language) -> str:
    at = given.moment(UTC)
    zone = at.tzinfo
    shown = f"{_stamp(at)} ({zone_text(zone) if zone is not None else ''})"
    return f"once, on {shown}" if language == "en" else f"一次:{shown}"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


_KINDS: Mapping[type[BaseSchedule], Callable[..., str]] = {
    crontab: _crontab,
    schedule: _schedule,
    solar: _solar,
    clocked: _clocked,
}
