"""The app of the mail room. Calls are taken out of their queue when they are done, not when they begin."""

from celery import Celery

app = Celery("mailroom", include=["tasks.letters", "tasks.parcels", "tasks.desk"])
app.config_from_object("config:Config", namespace="CELERY")
app.conf.update(
    timezone="Asia/Shanghai",
    enable_utc=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=4,
)
