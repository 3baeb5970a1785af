"""A task that belongs to no app in particular."""

from celery import shared_task


@shared_task()
def announce(what: str) -> None:
    print(f"announced: {what}")
