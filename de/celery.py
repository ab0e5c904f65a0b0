"""The Celery application; tasks are found in each app's tasks.py."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "de.settings")

from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from django.conf import settings

app = Celery("de")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def ready_file(data_dir: Path) -> Path:
    """Exists once a worker takes tasks; the supervisor waits for it."""
    return data_dir / "worker.ready"


@worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def note_ready(**_: Any) -> None:
    ready_file(settings.DE_DATA_DIR).write_text(str(os.getpid()))
