from __future__ import annotations

import pytest

from apps.core.api_paths import is_api_path
from de.hosts import path_for


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("text.de.test", "/generate", "/text/generate"),
        ("text-gen.de.test:8000", "/generate", "/text/generate"),
        ("TEXT.DE.TEST", "/generate", "/text/generate"),
        ("api.de.test", "/instance/x", "/config/instance/x"),
        ("api.de.test", "/v1/chat/completions", "/v1/chat/completions"),
        ("images.de.test", "/images/a.png", "/image/images/a.png"),
        ("audio.de.test", "/audio/1.mp3", "/audio/audio/1.mp3"),
        ("render-service.de.test", "/render/5", "/render/render/5"),
        ("stock-media.de.test", "/search", "/media/search"),
        ("audio.de.test", "/jobs/7", "/jobs/7"),
        ("admin.de.test", "/", "/admin/"),
        ("admin.de.test", "/admin/login/", "/admin/login/"),
        ("admin.de.test", "/static/x.css", "/static/x.css"),
        ("monitoring.de.test", "/", "/monitoring/"),
        ("testing.de.test", "/", "/testing/image/"),
        ("text-testing.de.test", "/", "/testing/text/"),
        ("other.de.test", "/generate", "/generate"),
        ("text.elsewhere.test", "/generate", "/generate"),
        ("de.test", "/text/generate", "/text/generate"),
        ("evil-de.test", "/generate", "/generate"),
    ],
)
def test_a_host_label_stands_for_its_path(host: str, path: str, expected: str):
    assert path_for(host, path, domain="de.test") == expected


def test_without_a_domain_only_paths_count():
    assert path_for("text.de.test", "/generate", domain="") == "/generate"


def test_api_paths_are_known_by_their_first_word():
    assert is_api_path("/text/generate")
    assert is_api_path("/v1")
    assert not is_api_path("/admin/")
    assert not is_api_path("/textual")
    assert not is_api_path("")
