"""Settings as a class, in the names that carry a prefix; two come from the environment where it has them."""

import os


class Config:
    CELERY_BROKER_URL = os.getenv("CELERY_BROKER_URL", "redis://localhost:6379/0")
    CELERY_RESULT_BACKEND = os.getenv("CELERY_RESULT_BACKEND", "redis://localhost:6379/1")
    CELERY_TASK_SERIALIZER = "json"
    CELERY_RESULT_SERIALIZER = "json"
    CELERY_ACCEPT_CONTENT = ["json"]
    CELERY_TASK_DEFAULT_QUEUE = "default"
    CELERY_TASK_QUEUES = {"default": {}, "letters": {}, "parcels": {}, "urgent": {}}
    CELERY_TASK_ROUTES = {"tasks.letters.*": {"queue": "letters"}, "tasks.parcels.*": {"queue": "parcels"}}
