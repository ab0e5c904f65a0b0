"""An instance's base_urls: where its calls go in place of the makers, so where its keys and prompts go."""

from __future__ import annotations

import pytest

from apps.config.rules import payload_mapping_faults


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:11434", "http://localhost:8000", "http://10.0.0.5", "http://169.254.169.254"),
        *(
            "http://[::1]:80",
            "http://2130706433",
            "http://0x7f.1",
            "http://[::ffff:10.0.0.1]",
            "http://LOCALHOST.",
        ),
        *("http://100.64.0.1", "http://0.0.0.0", "http://x.localhost", "http://[64:ff9b::7f00:1]"),
    ],
)
def test_private_addresses_are_refused_unless_allowed(call, cast, settings, url):
    settings.DE_ALLOW_PRIVATE_NETWORKS = False
    response = call("PUT", "/instance/acme-main", cast.alice_key, {"base_urls": {"openai": url}})
    assert response.status_code == 400
    assert "DE_ALLOW_PRIVATE_NETWORKS" in response.json()["details"]["fields"]["base_urls.openai"][0]
    settings.DE_ALLOW_PRIVATE_NETWORKS = True
    assert (
        call("PUT", "/instance/acme-main", cast.alice_key, {"base_urls": {"openai": url}}).status_code == 200
    )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://gpu.example/v1", "/v1"),
        ("https://gpu.example/v1/", "/v1"),
        ("https://gpu.example/api/v1beta", "/v1"),
        ("ftp://gpu.example", "http"),
        ("gpu.example:8000", "http"),
        ("https://", "host"),
        ("https://user:secret@gpu.example", "password"),
        ("https://gpu.example?x=1", "query"),
        ("https://gpu.example/#x", "query"),
        ("https://gpu.example:99999", "valid"),
        ("https://gpu.example:0", "Port 0"),
        ("https://gpu.example\\@evil.example", "backslash"),
        ("https://gpu\t.example", "visible"),
        ("https://{host}.example", "plain host name"),
        ("https://１２７.0.0.1", "visible"),
        ("https://" + "x" * 3000, "longer"),
    ],
)
def test_an_address_that_is_no_origin_is_refused_with_the_reason(call, cast, url, says):
    response = call("PUT", "/instance/acme-main", cast.alice_key, {"base_urls": {"openai": url}})
    assert response.status_code == 400
    assert says in response.json()["details"]["fields"]["base_urls.openai"][0]


def test_a_prefix_may_stay(call, cast, settings):
    settings.DE_ALLOW_PRIVATE_NETWORKS = False
    body = {"base_urls": {"openai": "https://proxy.example/openai/", "anthropic": "https://8.8.8.8:8443"}}
    response = call("PUT", "/instance/acme-main", cast.alice_key, body)
    assert response.json()["data"]["base_urls"] == {
        "openai": "https://proxy.example/openai",
        "anthropic": "https://8.8.8.8:8443",
    }


@pytest.mark.parametrize("place", ["endpoint", "stream", "poll"])
def test_a_mapping_may_not_lead_to_a_private_address_from_any_of_its_endpoints(settings, place: str):
    settings.DE_ALLOW_PRIVATE_NETWORKS = False
    private = "http://169.254.169.254/latest"
    mapping = {
        "endpoint": private if place == "endpoint" else "https://api.acme.example/v1",
        "body": {"q": "{user_prompt}"},
        "response_mapping": {
            "text": "$.a",
            "stream": {"text": "$.a", "finish_reason": "$.b"}
            | ({"endpoint": private} if place == "stream" else {}),
        },
    }
    if place == "poll":
        mapping["response_mapping"]["poll"] = {
            "job_id": "$.id",
            "endpoint": f"{private}/{{job_id}}",
            "status": "$.s",
            "succeeded": ["done"],
            "failed": ["broken"],
        }
    faults = payload_mapping_faults(mapping, capabilities={"text": True})
    assert list(faults) == ["endpoint"]
    assert "169.254.169.254" in faults["endpoint"]
