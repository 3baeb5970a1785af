"""The package is the app: `-A counters` finds it here."""

from celery import Celery

app = Celery("counters")
app.config_from_object("counters.celeryconfig")

from . import tasks  # noqa: E402, F401 - the tasks need the app
