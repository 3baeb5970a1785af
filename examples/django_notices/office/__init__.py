"""The app is imported with the project, so that shared tasks belong to it."""

from .celery import app as celery_app

__all__ = ("celery_app",)
