"""Settings of the tests: the platform's own, with data and a Valkey apart from any that runs here.

A module of its own because pytest-django reads settings before any conftest could change the environment.
"""

from __future__ import annotations

import os
import tempfile

os.environ["DE_DATA_DIR"] = tempfile.mkdtemp(prefix="de-tests-")
os.environ["DE_ALLOW_PRIVATE_NETWORKS"] = "1"
os.environ.setdefault("DE_LOG_LEVEL", "CRITICAL")
for _name in ("DE_REDIS_URL", "DE_DOMAIN", "DE_HOST", "PORT"):
    os.environ.pop(_name, None)

from de.settings import *  # noqa: E402, F403  # all of it is the point

# Pages are rendered without collecting static files first.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405  # or the static middleware warns
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick
