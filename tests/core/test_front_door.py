"""The front door in-process: hosts, origins, and which handler a path goes to."""

from __future__ import annotations

import httpx
import pytest

from de.asgi import application


def client(host: str = "localhost") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url=f"http://{host}")


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        ("text.de.test", "/health", "text-service"),
        ("text-gen.de.test", "/health/", "text-service"),
        ("localhost", "/text/health", "text-service"),
        ("elsewhere.test", "/health", "distributed-electrons"),
    ],
)
async def test_a_host_label_leads_to_its_service(settings, host: str, path: str, service: str):
    settings.DE_DOMAIN = "de.test"
    async with client(host) as http:
        assert (await http.get(path)).json()["service"] == service


@pytest.mark.django_db(transaction=True)
async def test_the_api_host_leads_to_the_config_service(settings):
    settings.DE_DOMAIN = "de.test"
    async with client("api.de.test") as http:
        assert (await http.get("/health")).json()["service"] == "config-service"


async def test_without_a_domain_a_host_name_means_nothing(settings):
    settings.DE_DOMAIN = ""
    async with client("text.de.test") as http:
        assert (await http.get("/health")).json()["service"] == "distributed-electrons"


async def test_origins_can_be_restricted(settings):
    settings.DE_CORS_ORIGINS = ["https://app.example"]
    async with client() as http:
        good = await http.get("/text/health", headers={"Origin": "https://app.example"})
        bad = await http.get("/text/health", headers={"Origin": "https://evil.example"})
    assert good.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Origin" not in bad.headers
    assert "Origin" in good.headers["Vary"]
    assert "Origin" in bad.headers["Vary"]


async def test_a_page_that_is_not_there_is_a_page_for_a_browser_and_json_for_others():
    async with client() as http:
        page = await http.get("/nowhere", headers={"Accept": "text/html"})
        other = await http.get("/nowhere")
        api = await http.get("/config/nowhere", headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert [answer.status_code for answer in (page, other, api)] == [404, 404, 404]
    assert other.json()["error_code"] == api.json()["error_code"] == "ROUTE_NOT_FOUND"


async def test_the_address_that_make_run_prints_leads_to_the_admin():
    async with client() as http:
        assert (await http.get("/")).headers["Location"] == "/admin/"
