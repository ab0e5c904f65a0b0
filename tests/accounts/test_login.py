from __future__ import annotations

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _forget_failures():
    cache.clear()


def log_in(password: str, address: str = "203.0.113.5"):
    form = {"username": "root@platform.test", "password": password}
    return Client(REMOTE_ADDR=address).post("/admin/login/?next=/admin/", form)


def test_an_address_that_keeps_failing_is_refused_even_with_the_right_password():
    user = make_user("root@platform.test", org=None, role="superadmin")
    user.set_password("correct horse battery")
    user.save()
    limit = int(settings.DE_LOGIN_RATE.split("/")[0])
    assert log_in("correct horse battery").status_code == 302
    answers = [log_in("wrong") for _ in range(limit + 2)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert int(answers[-1]["Retry-After"]) >= 1
    assert log_in("correct horse battery").status_code == 429
    assert log_in("correct horse battery", address="203.0.113.6").status_code == 302
