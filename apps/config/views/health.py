"""Is the config service up?"""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.db import Error, connection
from django.utils import timezone
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.drf import AlwaysJSON
from apps.core.openapi import documented

log = structlog.get_logger(__name__)


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=("healthy", "degraded"))
    service = serializers.CharField()
    version = serializers.CharField()
    timestamp = serializers.DateTimeField()


class HealthView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    content_negotiation_class = AlwaysJSON

    @documented(
        "config_health",
        summary="Whether the config service works; 503 when its database is away",
        tag="health",
        answers={200: HealthSerializer, 503: HealthSerializer},
        is_public=True,
    )
    def get(self, request: Request) -> Response:
        is_up = database_answers()
        body = {
            "status": "healthy" if is_up else "degraded",
            "service": "config-service",
            "version": settings.SPECTACULAR_SETTINGS["VERSION"],
            "timestamp": timezone.now(),
        }
        return Response(body, status=200 if is_up else 503)


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except Error as exc:
        log.warning("database_unavailable", error=str(exc))
        return False
