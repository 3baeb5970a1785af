"""Lines of cron, read and written: `cron.parse("30 7 * * mon-fri")`, `cron.to_text(schedule)`.

`crontab.from_string` reads exactly what Celery reads; this reads what people have elsewhere.
"""

from __future__ import annotations

from datetime import tzinfo

from sedano.nearest import hint
from sedano.schedules.crontabs import crontab
from sedano.schedules.fields import Field, crontab_parser

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def parse(text: str, *, tz: str | tzinfo | None = None) -> crontab:
    """A crontab from five fields (minute hour day month weekday), six (seconds first), or one of `MACROS`.

    Fields may stand any number of spaces apart, and Sunday may be 7. The fields of days are joined by AND, as in Celery: a line
    of cron with both a day and a weekday means either.
    Raises ParseException or ValueError.
    """
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        line = MACROS.get(words[0].lower())
        if line is None:
            raise ValueError(f"{words[0]!r} is no schedule.{hint(words[0], MACROS)} There are: {', '.join(sorted(MACROS))}")
        words = line.split()
    if len(words) not in (5, 6):
        raise ValueError(
            f"a line of cron has five fields (minute hour day month weekday), or six with seconds first, not {len(words)}:"
            f" {text!r}"
        )
    second: Field = words.pop(0) if len(words) == 6 else 0
    minute, hour, day, month, weekday = words
    options = {name: value for name, value in (("second", second), ("tz", tz)) if value not in (0, None)}
    return crontab(minute, hour, _weekdays(weekday), day, month, **options)


def to_text(schedule: crontab) -> str:
    """The line that `parse` reads as `schedule`, but for its zone."""
    return schedule.to_text()


def _weekdays(field: str) -> Field:
    """With Sunday as 7 or at the end of a range, which Celery does not know."""
    try:
        crontab_parser(7).parse(field)
    except ValueError:
        if "7" not in field:
            raise
        return sorted({value % 7 for value in crontab_parser(8).parse(field)})
    return field
