"""The Celery application; tasks are found in each app's tasks.py."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "de.settings")

from celery import Celery

app = Celery("de")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
