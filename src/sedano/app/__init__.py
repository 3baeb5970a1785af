"""The user's handle: the Celery object, tasks, sending."""
