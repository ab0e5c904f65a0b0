"""Fill a fresh database for the benchmark: a tenant with its key and models, and as many more rows as asked for.

`python -m bench.prepare --upstream http://127.0.0.1:PORT [--configs N] [--keys N] [--rows N]`, with the gateway's own
environment and after `manage.py migrate` and `seed_model_configs`. For throwaway databases only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from typing import TYPE_CHECKING

import django

from bench import names

if TYPE_CHECKING:
    from apps.accounts.models import ApiKey  # at run time only after django.setup()

KEYS_PER_USER = 10
# Far above what the benchmark can reach, so that limits are counted on every request and refuse none.
RATE_LIMITS = {"rpm": 10_000_000, "tpm": 100_000_000_000, "concurrent_requests": 100_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", required=True, help="the mock's origin")
    parser.add_argument("--configs", type=int, default=10, help="model configs to be called")
    parser.add_argument("--keys", type=int, default=10)
    parser.add_argument("--rows", type=int, default=0, help="ledger rows of the last 30 days")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "de.settings")
    django.setup()
    from django.db import transaction

    with transaction.atomic():
        tenant_create(upstream=options.upstream)
        models_create(options.configs)
        keys_create(options.keys)
    if options.rows:
        from bench.fill_ledger import ledger_fill

        ledger_fill(options.rows)


def tenant_create(*, upstream: str) -> None:
    from apps.accounts.models import Instance, Organization
    from apps.config.models import ProviderKey
    from apps.core.crypto import encrypt, mask

    secret = "sk-bench-0000000000000000"
    org = Organization.objects.create(org_id=names.ORG_ID, name="Benchmark")
    instance = Instance.objects.create(
        instance_id=names.INSTANCE_ID,
        org=org,
        name="Benchmark",
        base_urls={"openai": upstream},
        rate_limits={"openai": RATE_LIMITS},
    )
    ProviderKey.objects.create(
        instance=instance, provider="openai", api_key_encrypted=encrypt(secret), hint=mask(secret)
    )


def models_create(count: int) -> None:
    """One model for plain calls, one for each shape of stream, and `count` more for plain calls."""
    from apps.config.models import ModelConfig

    wire_names = {names.model_id(): "mock-model"}
    wire_names |= {names.model_id(shape): f"mock-{shape}" for shape in names.STREAM_SHAPES}
    wire_names |= {names.fill_model_id(number): f"mock-model-{number}" for number in range(count)}
    ModelConfig.objects.bulk_create(
        [
            ModelConfig(
                config_id=f"cfg_openai_{model_id}",
                model_id=model_id,
                provider_id="openai",
                display_name=model_id,
                adapter="openai",
                model=model,
                capabilities={"text": True},
                pricing={"input_per_million": 0.15, "output_per_million": 0.6},
            )
            for model_id, model in wire_names.items()
        ],
        batch_size=500,
    )


def keys_create(count: int) -> None:
    """`count` live keys, ten a user; each user may generate on the instance and has it for a default."""
    from apps.accounts.models import ApiKey, InstanceAccess, Permission, User

    users = [
        User(
            user_id=f"usr_bench_{number}",
            email=f"bench-{number}@example.com",
            org_id=names.ORG_ID,
            default_instance_id=names.INSTANCE_ID,
        )
        for number in range(-(-count // KEYS_PER_USER))
    ]
    for user in users:
        user.set_unusable_password()
    User.objects.bulk_create(users, batch_size=500)
    InstanceAccess.objects.bulk_create(
        [
            InstanceAccess(user=user, instance_id=names.INSTANCE_ID, permission=Permission.USER)
            for user in users
        ],
        batch_size=500,
    )
    ApiKey.objects.bulk_create((_key(number) for number in range(count)), batch_size=500)


def _key(number: int) -> ApiKey:
    from apps.accounts.models import ApiKey

    raw = names.api_key(number)
    return ApiKey(
        key_id=f"key_bench_{number}",
        name=f"bench {number}",
        key_hash=hashlib.sha256(raw.encode()).hexdigest(),
        hint=f"{raw[:8]}…{raw[-4:]}",
        user_id=f"usr_bench_{number // KEYS_PER_USER}",
    )


if __name__ == "__main__":
    main()
