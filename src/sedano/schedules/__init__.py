"""When: crontab, interval. Only one question: given now, when next? (Answered when beat comes; today they are values.)"""

from sedano.schedules.entries import BaseSchedule, crontab, maybe_schedule, schedule
from sedano.schedules.fields import ParseException, crontab_parser

__all__ = ["BaseSchedule", "ParseException", "crontab", "crontab_parser", "maybe_schedule", "schedule"]
