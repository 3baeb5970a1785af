from config.tasks_app import app

__all__ = ["app"]
