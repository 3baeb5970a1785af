import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# For development. Set DJANGO_SECRET_KEY, and DJANGO_DEBUG=0, where others can reach this.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only-for-development")
DEBUG = os.environ.get("DJANGO_DEBUG", "1") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]

INSTALLED_APPS = ["work"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DATABASES: dict[str, dict[str, str]] = {}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# No broker is named: calls go to the embedded store in .sedano/. For Redis, as Celery has it:
# CELERY_BROKER_URL = CELERY_RESULT_BACKEND = "redis://localhost:6379/0"
CELERY_TASK_TIME_LIMIT = 300
