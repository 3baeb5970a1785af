"""The app of the tasks. Run them with: sedano -A config worker -l info"""

import os

from sedano import Sedano

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Sedano("{{name}}")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
