from __future__ import annotations

import pytest
from django.test import Client

from apps.usage.admin import NewestPaginator
from apps.usage.models import LedgerEntry
from tests.factories import Cast, make_cast

LIST = "/admin/usage/ledgerentry/"


@pytest.fixture
def people(db, settings) -> Cast:
    # Pages are not looked at here, and their files were not collected.
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    return make_cast()


def entry(request_id: str) -> LedgerEntry:
    return LedgerEntry.objects.create(
        request_id=request_id, instance_id="acme-main", service="text", status="succeeded"
    )


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_superadmin_finds_a_request_by_its_whole_id(people):
    entry("req-one")
    entry("req-two")
    page = signed_in(people.root).get(LIST, {"q": "req-one"}).content.decode()
    assert "req-one" in page
    assert "req-two" not in page


def test_an_organizations_admin_does_not_see_the_platforms_ledger(people):
    assert signed_in(people.alice).get(LIST).status_code == 403


def test_the_ledger_can_be_neither_added_to_nor_changed_nor_deleted(people):
    row = entry("req-one")
    client = signed_in(people.root)
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{row.pk}/change/", {"request_id": "forged"}).status_code == 403
    assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert LedgerEntry.objects.get(pk=row.pk).request_id == "req-one"


def test_counting_stops_at_the_newest_rows(people, monkeypatch):
    monkeypatch.setattr("apps.usage.admin.MAX_COUNTED", 2)
    for number in range(4):
        entry(f"req-{number}")
    assert NewestPaginator(LedgerEntry.objects.order_by("-id"), 1).count == 2
