from __future__ import annotations

import io

import pytest
from django.core.handlers.asgi import ASGIRequest
from rest_framework.request import Request

from apps.core.drf import body_read
from apps.core.errors import InvalidRequest, PayloadTooLarge


def request_with(body, headers=()):
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": list(headers)}
    return Request(ASGIRequest(scope, io.BytesIO(body)))


def test_a_chunked_body_is_read_though_its_length_is_not_told():
    assert body_read(request_with(b'{"a": 1}')) == {"a": 1}


def test_a_chunked_body_over_the_limit_is_refused(settings):
    settings.DE_MAX_BODY_BYTES = 1024
    with pytest.raises(PayloadTooLarge):
        body_read(request_with(b'{"a": "' + b"x" * 2000 + b'"}'))


def test_what_is_no_object_is_refused():
    with pytest.raises(InvalidRequest):
        body_read(request_with(b"[1]"))
