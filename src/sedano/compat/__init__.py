"""Celery's old import paths."""
