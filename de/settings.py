"""All settings, one labelled section each. Every variable read here is documented in docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.fernet import Fernet

from de import env, logs

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where data lives ---------------------------------------------------------------------------------------

DE_DATA_DIR = Path(env.text("DE_DATA_DIR", str(BASE_DIR / "var"))).resolve()

# --- Secrets ------------------------------------------------------------------------------------------------

SECRET_KEY = env.secret("DE_SECRET_KEY", DE_DATA_DIR / "secret_key")
# Fernet keys, newest first; see apps/core/crypto.py for how to rotate.
DE_ENCRYPTION_KEYS = [
    key.strip()
    for key in env.secret(
        "DE_ENCRYPTION_KEYS", DE_DATA_DIR / "encryption_keys", make=lambda: Fernet.generate_key().decode()
    ).split(",")
]

# --- Addresses ----------------------------------------------------------------------------------------------

PORT = env.integer("PORT", 8000, minimum=1)
DE_HOST = env.text("DE_HOST", "127.0.0.1")
DE_DOMAIN = env.text("DE_DOMAIN", "")
DE_SANDBOX_PORT = env.integer("DE_SANDBOX_PORT", PORT + 1, minimum=1)
DE_SANDBOX_URL = env.text("DE_SANDBOX_URL", f"http://127.0.0.1:{DE_SANDBOX_PORT}").rstrip("/")
DE_ALLOW_PRIVATE_NETWORKS = env.boolean("DE_ALLOW_PRIVATE_NETWORKS", False)
# How many proxies in front of us add to X-Forwarded-For; 0: the header is not believed.
DE_TRUSTED_PROXIES = env.integer("DE_TRUSTED_PROXIES", 0)
DE_CORS_ORIGINS = env.items("DE_CORS_ORIGINS", ["*"])
ALLOWED_HOSTS = env.items("DE_ALLOWED_HOSTS", ["*"])
CSRF_TRUSTED_ORIGINS = env.items("DE_CSRF_TRUSTED_ORIGINS", [])

# --- Django -------------------------------------------------------------------------------------------------

DEBUG = env.boolean("DE_DEBUG", False)
ROOT_URLCONF = "de.urls"
ASGI_APPLICATION = "de.asgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "admin:login"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.core",
    "apps.accounts",
    "apps.config",
    "apps.usage",
    "apps.text",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "/static/"
STATIC_ROOT = DE_DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"},
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- Request size -------------------------------------------------------------------------------------------

DE_MAX_BODY_BYTES = env.integer("DE_MAX_BODY_BYTES", 10 * 1024 * 1024, minimum=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = DE_MAX_BODY_BYTES

# --- Database -----------------------------------------------------------------------------------------------


def _database(url: str) -> dict[str, Any]:
    """A Django DATABASES entry from "sqlite:///path" or "postgresql://user:password@host:port/name"."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]) or ":memory:",
            # A file, since threads of the event loop's side open connections of their own.
            "TEST": {"NAME": str(DE_DATA_DIR / "test.sqlite3")},
            "OPTIONS": {
                # IMMEDIATE: a transaction that will write waits for its turn at its start, under the busy timeout,
                # instead of failing in the middle when another writer was first.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000;",
            },
        }
    if parts.scheme in ("postgres", "postgresql"):
        # As libpq reads them: ?host=/socket/folder, ?sslmode=require and the like.
        options: dict[str, Any] = dict(parse_qsl(parts.query))
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path[1:]),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": options.pop("host", unquote(parts.hostname or "")),
            "PORT": str(parts.port or ""),
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": options | {"pool": {"min_size": 1, "max_size": 10, "timeout": 10}},
        }
    raise env.BadSetting(
        "DATABASE_URL", parts.scheme, "sqlite:///path or postgresql://user:password@host/name"
    )


DATABASES = {"default": _database(env.text("DATABASE_URL", f"sqlite:///{DE_DATA_DIR / 'de.sqlite3'}"))}

# --- Redis (or Valkey) --------------------------------------------------------------------------------------

# `make run` starts an embedded Valkey on this socket when DE_REDIS_URL is not set.
DE_REDIS_URL = env.text("DE_REDIS_URL", f"unix://{DE_DATA_DIR / 'valkey.sock'}")

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": DE_REDIS_URL,
        "KEY_PREFIX": "de:cache",
        "OPTIONS": {"socket_timeout": 0.1, "socket_connect_timeout": 0.1},
    }
}

# --- Tenancy ------------------------------------------------------------------------------------------------

DE_DEFAULT_INSTANCE = env.text("DE_DEFAULT_INSTANCE", "default")
DE_DEFAULT_TEXT_MODEL = env.text("DE_DEFAULT_TEXT_MODEL", "gpt-6-luna")

# --- Limits -------------------------------------------------------------------------------------------------

# Requests per minute of a key that sets no limit of its own; 0 means none.
DE_KEY_RPM = env.integer("DE_KEY_RPM", 60_000)
# Failed keys per client address, as django-ratelimit writes rates.
DE_BAD_KEY_RATE = env.text("DE_BAD_KEY_RATE", "30/m")
DE_LOGIN_RATE = env.text("DE_LOGIN_RATE", "10/m")

# --- Streams ------------------------------------------------------------------------------------------------

DE_KEEPALIVE_S = env.seconds("DE_KEEPALIVE_S", 15.0)
# How long streams may go on after SIGTERM before they are ended with an error event.
DE_SHUTDOWN_GRACE_S = env.seconds("DE_SHUTDOWN_GRACE_S", 10.0)

# --- REST framework and its schema --------------------------------------------------------------------------

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.accounts.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["apps.accounts.authentication.HasCaller"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.drf.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.core.drf.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Distributed Electrons",
    "DESCRIPTION": "Text, images, video, speech, stock media and rendering from many makers behind one key.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # For choices that several entities have under one name, or one entity under several.
    "ENUM_NAME_OVERRIDES": {
        "ApiKeyModeEnum": "apps.accounts.models.ApiKey.Mode",
        "ModelStatusEnum": "apps.config.models.ModelConfig.Status",
        "UserRoleEnum": "apps.accounts.models.User.Role",
    },
}

# --- Admin theme --------------------------------------------------------------------------------------------

UNFOLD: dict[str, Any] = {"SITE_TITLE": "Distributed Electrons", "SITE_HEADER": "Distributed Electrons"}

# --- Celery -------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = DE_REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A message whose worker died comes back after the visibility timeout; the restore runs every few seconds instead of
# the default ~100 s. It must stay above the longest task.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    "global_keyprefix": "de:celery:",
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DE_DATA_DIR / "celerybeat")
CELERY_BEAT_SCHEDULE: dict[str, Any] = {
    "sessions-clear": {"task": "accounts.sessions_clear", "schedule": 86_400.0},
}

# --- Logs ---------------------------------------------------------------------------------------------------

DE_LOG_LEVEL = env.choice("DE_LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
DE_LOG_FORMAT = env.choice("DE_LOG_FORMAT", "console", ["console", "json"])
LOGGING_CONFIG = None  # Django's own set-up would undo ours
logs.configure(level=DE_LOG_LEVEL, as_json=DE_LOG_FORMAT == "json")
