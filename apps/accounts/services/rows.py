"""Saving a row whose id or address another request may be taking at this very moment."""

from __future__ import annotations

from django.db import IntegrityError, models, transaction

from apps.core.errors import Conflict


def row_insert(row: models.Model, *, taken: str) -> None:
    """taken: the sentence for the loser of the race (and for whoever comes later)."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as exc:
        raise Conflict(taken) from exc


def row_save(row: models.Model, *, taken: str) -> None:
    """As row_insert, for a change of something unique."""
    try:
        with transaction.atomic():
            row.save(force_update=True)
    except IntegrityError as exc:
        raise Conflict(taken) from exc
