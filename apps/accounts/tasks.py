"""Housekeeping that beat asks for."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command


@shared_task(name="accounts.sessions_clear")  # type: ignore[untyped-decorator]  # Celery has no types
def sessions_clear_task() -> None:
    """Expired browser sessions; Django leaves their rows behind."""
    call_command("clearsessions")
