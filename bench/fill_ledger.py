"""Millions of ledger rows in about a minute: one INSERT … SELECT inside SQLite, its indexes built afterwards.

The rows look like a month of traffic: spread over 30 days in the order of their ids, ids of requests that grow with
time (as uuid7), a few tenants with most of the calls, eight models, 97 % succeeded, costs where there were tokens.
"""

from __future__ import annotations

from bench import names

SPAN_S = 30 * 86_400
_RANDOM = "random() & 4611686018427387903"

# Column -> SQL. `n` counts from 1 to `total`, `r` is a random whole number of its row, `t` its time in milliseconds.
_TENANT = f"CASE WHEN r % 10 < 6 THEN '{names.INSTANCE_ID}' ELSE 'tenant-' || (r / 16 % 200) END"
_SUCCEEDED = "r % 100 < 97"
_EXPRESSIONS = {
    "created_at": "strftime('%Y-%m-%d %H:%M:%f', t / 1000.0, 'unixepoch')",
    "request_id": "printf('%08x-%04x-7%03x-a%03x-%012x', t >> 16, t & 65535, n & 4095, r & 4095, r >> 14)",
    "attempt": "1",
    "job_id": "NULL",
    "instance_id": _TENANT,
    "project_id": "''",
    "user_id": "'usr_bench_' || (r % 10000)",
    "key_id": "'key_bench_' || (r % 100000)",
    "service": "'text'",
    "model_id": f"'{names.model_id()}-' || (r % 8)",
    "provider_id": "CASE r % 3 WHEN 0 THEN 'anthropic' ELSE 'openai' END",
    "provider_model": "'mock-model-' || (r % 8)",
    "input_tokens": "20 + r % 3000",
    "cached_input_tokens": "CASE WHEN r % 5 = 0 THEN r % 20 ELSE 0 END",
    "output_tokens": f"CASE WHEN {_SUCCEEDED} THEN 5 + r / 8 % 900 ELSE 0 END",
    "unit_prices": """'{"input":"0.00000015","output":"0.0000006"}'""",
    "cost_usd": f"CASE WHEN {_SUCCEEDED} THEN ((20 + r % 3000) * 15 + (5 + r / 8 % 900) * 60) / 1e8 ELSE 0 END",
    "status": f"CASE WHEN {_SUCCEEDED} THEN 'succeeded' WHEN r % 100 < 99 THEN 'failed' ELSE 'canceled' END",
    "error_code": "CASE WHEN r % 100 IN (97, 98) THEN 'PROVIDER_ERROR' ELSE '' END",
    "latency_ms": "200 + r / 4 % 9000",
    "ttft_ms": "CASE WHEN r % 2 THEN 90 + r / 4 % 900 END",
    "is_stream": "r % 2",
}


def ledger_fill(total: int) -> None:
    """Insert `total` rows. Only for SQLite, and only for a database nobody else has open."""
    from django.db import connection
    from django.utils import timezone

    from apps.usage.models import LedgerEntry

    if connection.vendor != "sqlite":
        raise SystemExit("The ledger can be filled in SQLite only: unset DATABASE_URL.")
    table = LedgerEntry._meta.db_table
    fields = [field for field in LedgerEntry._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    # A column this file does not know yet gets the model's own default.
    chosen, parameters = [], []
    for field in fields:
        chosen.append(_EXPRESSIONS.get(field.column, "%s"))
        if field.column not in _EXPRESSIONS:
            parameters.append(field.get_db_prep_save(field.get_default(), connection))
    start_ms = int((timezone.now().timestamp() - SPAN_S) * 1000)
    rows_sql = f"""
        WITH RECURSIVE source(n, r, t) AS (
            SELECT 1, {_RANDOM}, {start_ms}
            UNION ALL SELECT n + 1, {_RANDOM}, {start_ms} + n * {SPAN_S * 1000} / {total} FROM source WHERE n < {total}
        )
        INSERT INTO "{table}" ({columns}) SELECT {", ".join(_doubled(chosen))} FROM source
    """
    with connection.cursor() as cursor:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "temp_store=FILE"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s AND sql IS NOT NULL",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        cursor.execute(rows_sql, parameters)
        for _, sql in indexes:
            cursor.execute(sql)
        cursor.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _doubled(expressions: list[str]) -> list[str]:
    """Django's SQLite cursor reads %s as a parameter, so every other per cent sign is written twice."""
    return [text if text == "%s" else text.replace("%", "%%") for text in expressions]
