"""Who may call what: every route of the config service, one table."""

from __future__ import annotations

import pytest

from apps.accounts.models import ApiKey, AuditEntry
from apps.config.models import ModelConfig, ProviderKey
from apps.core.crypto import encrypt
from tests.config.conftest import make_model
from tests.factories import make_key

# method, path, body. {key} is Bob's key's id.
READS = [
    ("GET", "/instance/acme-main", None),
    ("GET", "/project/acme-web", None),
    ("GET", "/project?instance_id=acme-main", None),
    ("GET", "/provider-key/acme-main", None),
    ("GET", "/provider-key/acme-main/openai", None),
]
INSTANCE_WRITES = [
    ("PUT", "/instance/acme-main", {"name": "Taken"}),
    ("DELETE", "/instance/acme-main", None),
    ("POST", "/project", {"instance_id": "acme-main", "name": "Taken"}),
    ("PUT", "/project/acme-web", {"name": "Taken"}),
    ("DELETE", "/project/acme-web", None),
    ("POST", "/provider-key", {"instance_id": "acme-main", "provider": "openai", "api_key": "sk-taken"}),
    ("DELETE", "/provider-key/acme-main/openai", None),
    ("POST", "/api-key", {"name": "Taken", "project_id": "acme-web"}),
    ("DELETE", "/api-key/{project_key}", None),
    ("POST", "/api-key/{project_key}/rotate", None),
]
PEOPLE = [
    ("GET", "/user/{alice}", None),
    ("GET", "/user/email/alice@acme.test", None),
    ("GET", "/user?org_id=acme", None),
    ("GET", "/instance?org_id=acme", None),
    ("POST", "/instance", {"org_id": "acme", "name": "Taken"}),
    ("POST", "/user", {"email": "new@acme.test", "org_id": "acme"}),
    ("PUT", "/user/{alice}", {"name": "Taken"}),
    ("DELETE", "/user/{alice}", None),
    ("GET", "/api-key?user_id={alice}", None),
    ("GET", "/api-key/{alice_key}", None),
    ("POST", "/api-key", {"name": "Taken", "user_id": "{alice}"}),
    ("DELETE", "/api-key/{alice_key}", None),
    ("POST", "/api-key/{alice_key}/rotate", None),
]
MODEL_WRITES = [
    ("POST", "/model-config", {"model_id": "m", "provider_id": "openai", "capabilities": {"text": True}}),
    ("PUT", "/model-config/gpt-4o", {"status": "beta"}),
    ("DELETE", "/model-config/gpt-4o", None),
]
OPEN_READS = [
    ("GET", "/instance", None),
    ("GET", "/user", None),
    ("GET", "/project", None),
    ("GET", "/api-key", None),
    ("GET", "/model-config", None),
    ("GET", "/model-config/gpt-4o", None),
]
AUDIT = [("GET", "/audit", None)]
EVERYTHING = READS + INSTANCE_WRITES + PEOPLE + MODEL_WRITES + OPEN_READS + AUDIT


def name_of(route):
    return f"{route[0]} {route[1]}"


@pytest.fixture
def filled(cast):
    """What the routes name, by the words in braces."""
    ProviderKey.objects.create(
        instance=cast.instance, provider="openai", api_key_encrypted=encrypt("sk-acme"), hint="…"
    )
    make_model()
    return {
        "alice": cast.alice.user_id,
        "alice_key": ApiKey.objects.get(user=cast.alice).key_id,
        "project_key": ApiKey.objects.get(project=cast.project).key_id,
    }


@pytest.fixture
def ask(call, filled):
    def send(route, key):
        method, path, body = route
        if body is not None:
            body = {
                name: value.format(**filled) if isinstance(value, str) else value
                for name, value in body.items()
            }
        return call(method, path.format(**filled), key, body)

    return send


@pytest.mark.parametrize("route", EVERYTHING, ids=name_of)
def test_every_route_needs_a_key(ask, route):
    for key in ("", "sk_live_" + "0" * 64):
        response = ask(route, key)
        assert response.status_code == 401
        assert response.json()["error_code"] == "UNAUTHENTICATED"
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert AuditEntry.objects.count() == 0


@pytest.mark.parametrize("route", READS + INSTANCE_WRITES + PEOPLE, ids=name_of)
def test_another_tenants_key_is_refused(ask, cast, route):
    response = ask(route, cast.charlie_key)
    assert response.status_code == 403, response.content
    assert response.json()["error_code"] == "PERMISSION_DENIED"
    assert AuditEntry.objects.count() == 0


@pytest.mark.parametrize("route", READS, ids=name_of)
def test_any_key_of_the_instance_may_read_it(ask, cast, route):
    for key in (cast.rita_key, cast.bob_key, cast.project_key, cast.alice_key, cast.root_key):
        assert ask(route, key).status_code == 200


@pytest.mark.parametrize("route", INSTANCE_WRITES, ids=name_of)
def test_writing_needs_admin_on_the_instance(ask, cast, route):
    for key in (cast.rita_key, cast.bob_key, cast.bob_test_key, cast.project_key):
        response = ask(route, key)
        assert (response.status_code, response.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert AuditEntry.objects.count() == 0


@pytest.mark.parametrize("route", INSTANCE_WRITES, ids=name_of)
def test_an_admin_of_the_instance_may_write(ask, cast, route):
    cast.instance.accesses.filter(user=cast.bob).update(permission="admin")
    assert ask(route, cast.bob_key).status_code in (200, 201)
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("route", [route for route in PEOPLE if "org_id=" not in route[1]], ids=name_of)
def test_a_user_manages_nobody_else(ask, cast, route):
    for key in (cast.bob_key, cast.rita_key, cast.project_key):
        assert ask(route, key).status_code == 403
    assert AuditEntry.objects.count() == 0


@pytest.mark.parametrize("route", MODEL_WRITES, ids=name_of)
def test_model_configs_are_written_by_superadmins_only(ask, cast, route):
    for key in (cast.alice_key, cast.bob_key, cast.charlie_key, cast.project_key):
        assert ask(route, key).status_code == 403
    assert ModelConfig.objects.filter(status="active").count() == 1
    assert ask(route, cast.root_key).status_code in (200, 201)


@pytest.mark.parametrize("route", AUDIT, ids=name_of)
def test_the_audit_log_is_for_admins(ask, cast, route):
    for key in (cast.bob_key, cast.rita_key, cast.project_key, cast.charlie_key):
        assert ask(route, key).status_code == 403
    for key in (cast.alice_key, cast.root_key):
        assert ask(route, key).status_code == 200


@pytest.mark.parametrize("route", EVERYTHING, ids=name_of)
def test_a_key_limited_to_other_services_cannot_use_this_one(ask, cast, route):
    response = ask(route, make_key(cast.root, allowed_services=["text"]))
    assert response.status_code == 403
    assert "config" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/instance/nope", "INSTANCE_NOT_FOUND"),
        ("/provider-key/nope", "INSTANCE_NOT_FOUND"),
        ("/provider-key/nope/openai", "INSTANCE_NOT_FOUND"),
        ("/provider-key/acme-main/nope", "NOT_FOUND"),
        ("/project/nope", "PROJECT_NOT_FOUND"),
        ("/user/nope", "NOT_FOUND"),
        ("/user/email/nope@acme.test", "NOT_FOUND"),
        ("/api-key/nope", "NOT_FOUND"),
        ("/model-config/nope", "MODEL_NOT_FOUND"),
        ("/project?instance_id=nope", "INSTANCE_NOT_FOUND"),
        ("/instance?org_id=nope", "NOT_FOUND"),
        ("/user?org_id=nope", "NOT_FOUND"),
        ("/api-key?user_id=nope", "NOT_FOUND"),
        ("/api-key?project_id=nope", "PROJECT_NOT_FOUND"),
    ],
)
def test_unknown_ids_are_not_found(call, cast, path, code):
    response = call("GET", path, cast.root_key)
    assert (response.status_code, response.json()["error_code"]) == (404, code)


@pytest.mark.parametrize(
    "odd", ["%00", "a%00b", "x" * 2000, "%F0%9F%A6%84", "a%20b", "..", "%ED%A0%80", "'", "a%0Ab"]
)
@pytest.mark.parametrize(
    "path",
    [
        *("/instance/{}", "/user/{}", "/user/email/{}", "/project/{}", "/provider-key/{}", "/api-key/{}"),
        *("/provider-key/acme-main/{}", "/model-config/{}"),
    ],
)
def test_odd_ids_in_a_path_are_not_found(call, cast, path, odd):
    assert call("GET", path.format(odd), cast.root_key).status_code == 404


@pytest.mark.parametrize("odd", ["%00", "a%00b", "x" * 300, ""])
@pytest.mark.parametrize(
    "path",
    [
        *("/instance?org_id=", "/instance?after=", "/instance?limit=", "/user?org_id=", "/user?after="),
        *("/project?instance_id=", "/api-key?user_id=", "/api-key?project_id=", "/api-key?mode="),
        *("/model-config?type=", "/model-config?provider_id=", "/model-config?status="),
        *("/audit?entity=", "/audit?actor_id=", "/audit?entity_id=", "/audit?after=", "/instance?nope="),
    ],
)
def test_odd_filters_are_refused_by_name(call, cast, path, odd):
    response = call("GET", path + odd, cast.root_key)
    assert response.status_code == 400
    assert list(response.json()["details"]["fields"]) == [path.partition("?")[2].rstrip("=")]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "1.5", "ten", "9" * 40])
def test_a_limit_out_of_range_is_refused(call, cast, limit):
    response = call("GET", f"/instance?limit={limit}", cast.root_key)
    assert (response.status_code, list(response.json()["details"]["fields"])) == (400, ["limit"])


def test_a_filter_that_does_not_exist_is_refused_with_those_that_do(call, cast):
    response = call("GET", "/model-config?provider=openai", cast.bob_key)
    assert response.status_code == 400
    assert response.json()["details"]["allowed"] == {"filters": ["type", "provider_id", "status"]}


# --- manners ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/instance", "GET, HEAD, OPTIONS, POST"),
        ("/instance/acme-main", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/user/email/bob@acme.test", "GET, HEAD, OPTIONS"),
        ("/provider-key", "OPTIONS, POST"),
        ("/api-key/x/rotate", "OPTIONS, POST"),
        ("/model-config", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_allowed(call, cast, path, allowed):
    for method in ("PATCH", "TRACE", "BREW"):
        response = call(method, path, cast.root_key)
        assert (response.status_code, response.headers["Allow"]) == (405, allowed)
        assert response.json()["error_code"] == "METHOD_NOT_ALLOWED"
    response = call("OPTIONS", path)
    assert (response.status_code, response.headers["Allow"], response.content) == (204, allowed, b"")


def test_head_answers_as_get_without_a_body(call, cast):
    response = call("HEAD", "/instance/acme-main", cast.bob_key)
    assert (response.status_code, response.content) == (200, b"")
    assert call("HEAD", "/instance/acme-main", cast.charlie_key).status_code == 403


def test_every_answer_names_its_request(call, cast):
    response = call("GET", "/instance", cast.bob_key, headers={"X-Request-ID": "mine-1"})
    assert response.json()["request_id"] == "mine-1"
    response = call("GET", "/instance/nope", cast.bob_key, headers={"X-Request-ID": "mine-2"})
    assert response.json()["request_id"] == "mine-2"


@pytest.mark.parametrize(
    "headers", [{"Accept": "text/html"}, {"Accept": "application/xml"}, {"Accept": "nonsense"}]
)
def test_answers_are_json_whatever_is_accepted(call, cast, headers):
    response = call("GET", "/instance", cast.bob_key, headers=headers)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")


def test_the_bare_key_and_the_other_header_are_accepted(call, cast):
    assert call("GET", "/instance", headers={"Authorization": cast.bob_key}).status_code == 200
    assert call("GET", "/instance", headers={"X-API-Key": cast.bob_key}).status_code == 200
