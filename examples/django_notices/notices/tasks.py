from celery import shared_task

from notices.models import Notice


@shared_task
def pin(text: str) -> int:
    """Put a notice on the board; returns how many hang there."""
    Notice.objects.create(text=text)
    return Notice.objects.count()
