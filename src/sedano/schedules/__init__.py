"""When: crontab, interval, solar event, one moment. Only one question: given now, when next?

Every schedule answers it in instants (`next_after`, seconds since the epoch, no clock read) and as Celery's do (`is_due`,
`remaining_estimate`, against `now()`). `next_runs` lists what comes, `cron` reads and writes lines of cron, `in_words` says
it in English or Chinese.
"""

from sedano.protocol.names import declare
from sedano.schedules import cron
from sedano.schedules.base import BaseSchedule, schedstate
from sedano.schedules.crontabs import crontab
from sedano.schedules.fields import ParseException, crontab_parser
from sedano.schedules.intervals import maybe_schedule, schedule
from sedano.schedules.oneoff import clocked
from sedano.schedules.sunlight import solar
from sedano.schedules.upcoming import Irregular, Upcoming, doubled_or_missing, next_run, next_runs
from sedano.schedules.words import in_words

__all__ = [
    "BaseSchedule",
    "Irregular",
    "ParseException",
    "Upcoming",
    "clocked",
    "cron",
    "crontab",
    "crontab_parser",
    "doubled_or_missing",
    "in_words",
    "maybe_schedule",
    "next_run",
    "next_runs",
    "schedstate",
    "schedule",
    "solar",
]

# A schedule file and a message hold Celery's names, and Celery can read what stands there.
for _kind in (BaseSchedule, crontab, crontab_parser, schedule, schedstate, solar):
    declare(_kind, "celery.schedules", _kind.__name__)
