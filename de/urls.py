"""The contents page: one include per app."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from apps.accounts.login import admin_login
from apps.config.urls import schema_urlpatterns
from apps.usage.health import health, health_ready

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),  # where `make run` leads a browser
    path("config/", include("apps.config.urls")),
    path("config/", include("apps.usage.urls")),
    path("text/", include("apps.text.urls")),
    path("health", health, name="health"),
    path("health/ready", health_ready, name="health-ready"),
    *schema_urlpatterns,
    path("admin/login/", admin_login, name="admin-login"),
    path("admin/", admin.site.urls),
]

handler400 = "apps.core.views.bad_request"
handler403 = "apps.core.views.permission_denied"
handler404 = "apps.core.views.page_not_found"
handler500 = "apps.core.views.server_error"
