"""The config service's addresses. `schema_urlpatterns` document the whole platform, so they stand beside it."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from apps.config.views.api_keys import ApiKeyListView, ApiKeyRotateView, ApiKeyView
from apps.config.views.audit import AuditListView
from apps.config.views.health import HealthView
from apps.config.views.instances import InstanceListView, InstanceView
from apps.config.views.model_configs import ModelConfigListView, ModelConfigView
from apps.config.views.projects import ProjectListView, ProjectView
from apps.config.views.provider_keys import ProviderKeyListView, ProviderKeySetView, ProviderKeyView
from apps.config.views.users import UserByEmailView, UserListView, UserView

app_name = "config"

urlpatterns = [
    path("health", HealthView.as_view(), name="health"),
    path("instance", InstanceListView.as_view(), name="instances"),
    path("instance/<str:instance_id>", InstanceView.as_view(), name="instance"),
    path("user", UserListView.as_view(), name="users"),
    path("user/email/<str:email>", UserByEmailView.as_view(), name="user-by-email"),
    path("user/<str:user_id>", UserView.as_view(), name="user"),
    path("project", ProjectListView.as_view(), name="projects"),
    path("project/<str:project_id>", ProjectView.as_view(), name="project"),
    path("provider-key", ProviderKeySetView.as_view(), name="provider-keys"),
    path("provider-key/<str:instance_id>", ProviderKeyListView.as_view(), name="provider-key-list"),
    path("provider-key/<str:instance_id>/<str:provider>", ProviderKeyView.as_view(), name="provider-key"),
    path("api-key", ApiKeyListView.as_view(), name="api-keys"),
    path("api-key/<str:key_id>", ApiKeyView.as_view(), name="api-key"),
    path("api-key/<str:key_id>/rotate", ApiKeyRotateView.as_view(), name="api-key-rotate"),
    path("model-config", ModelConfigListView.as_view(), name="model-configs"),
    path("model-config/<str:name>", ModelConfigView.as_view(), name="model-config"),
    path("audit", AuditListView.as_view(), name="audit"),
]

schema_urlpatterns = [
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]
