from __future__ import annotations

from django.urls import path

from apps.text import (
    schema as schema,  # puts the views into the OpenAPI schema
)
from apps.text import views

app_name = "text"

urlpatterns = [
    path("generate", views.text_generate, name="generate"),
    path("generate/stream", views.text_generate_stream, name="generate-stream"),
    path("health", views.text_health, name="health"),
]
