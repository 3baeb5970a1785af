"""The app. It reads its settings from the module beside it, and its tasks from the modules that it names."""

from celery import Celery

app = Celery("Texts")
app.config_from_object("service.core.celery_config")
app.autodiscover_tasks(["service.tasks.texts", "service.tasks.house"])
