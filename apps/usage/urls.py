"""Mounted beside the config service: `/config/usage`."""

from __future__ import annotations

from django.urls import path

from apps.usage.views import UsageView

app_name = "usage"

urlpatterns = [path("usage", UsageView.as_view(), name="list")]
