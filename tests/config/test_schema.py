from __future__ import annotations

import io
import json
import re

import pytest
from django.core.management import call_command

from apps.config.urls import urlpatterns


@pytest.fixture(scope="module")
def schema():
    out = io.StringIO()
    call_command("spectacular", "--format", "openapi-json", "--validate", "--fail-on-warn", stdout=out)
    return json.loads(out.getvalue())


def operations(schema):
    for address, methods in schema["paths"].items():
        if address.startswith("/config/"):
            for method, operation in methods.items():
                yield address, method, operation


def test_the_whole_schema_is_made_without_a_warning(schema):
    assert schema["openapi"].startswith("3.")


def test_every_route_of_the_service_is_in_it(schema):
    routes = {f"/config/{entry.pattern}".replace("<str:", "{").replace(">", "}") for entry in urlpatterns}
    assert routes <= set(schema["paths"])


def test_every_operation_says_how_it_can_fail(schema):
    for address, method, operation in operations(schema):
        answers = set(operation["responses"])
        if address == "/config/health":
            assert {"200", "405", "503"} <= answers
            continue
        assert {"400", "401", "403", "405", "429", "503"} <= answers, (method, address)
        if "requestBody" in operation:
            assert "413" in answers, (method, address)
        if "{" in address:
            assert "404" in answers, (method, address)
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                reference = answer["content"]["application/json"]["schema"]["$ref"]
                assert reference == "#/components/schemas/Error", (method, address, status)


def test_operation_ids_are_unique(schema):
    ids = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(ids) == len(set(ids))


def test_either_way_to_send_a_key_will_do(schema):
    schemes = schema["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["api_key"]["name"]) == ("bearer", "X-API-Key")
    for address, _, operation in operations(schema):
        wanted = [] if address == "/config/health" else [{"bearer": []}, {"api_key": []}]
        assert operation.get("security", []) == wanted, address


def test_request_bodies_take_no_other_names_than_these(schema):
    bodies = [
        schema["components"]["schemas"][name.rpartition("/")[2]]
        for _, _, operation in operations(schema)
        if "requestBody" in operation
        for name in [operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]]
    ]
    assert len(bodies) > 8
    for component in bodies:
        assert component["additionalProperties"] is False
        assert component["properties"]


def test_no_docstring_meant_for_us_is_in_it(schema):
    text = json.dumps(schema)
    for inside in ("prefetch", "docstring", "Serializer", "keyword argument"):
        assert inside not in text


@pytest.mark.django_db
def test_the_schema_and_its_page_are_served_with_local_assets(client):
    response = client.get("/schema")
    assert response.status_code == 200
    assert "/config/instance" in response.json()["paths"]
    page = client.get("/docs")
    assert page.status_code == 200
    html = page.content.decode()
    assert "swagger-ui" in html
    assert not [link for link in re.findall(r"""https?://[^"'\s]+""", html) if "testserver" not in link]
