"""Wiring only: settings, addresses, processes."""

from __future__ import annotations
