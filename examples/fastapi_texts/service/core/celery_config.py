"""Calls and results in the same database of one Redis; a queue with a name of its own."""

from service import settings

broker_url = settings.REDIS + "1"
result_backend = settings.REDIS + "1"
task_default_queue = "texts"
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
timezone = settings.ZONE
