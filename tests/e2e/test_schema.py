"""Property tests of the whole API from its own OpenAPI schema, against a running platform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.e2e.conftest import Platform, start_platform, stop_platform

MAX_EXAMPLES = 15


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of its own: what the fuzzer writes stays here."""
    running = start_platform(tmp_path_factory.mktemp("fuzzed"), DE_BAD_KEY_RATE="100000/m")
    yield running
    stop_platform(running)


def test_no_request_the_schema_allows_or_forbids_gets_a_5xx_or_an_undocumented_answer(fuzzed: Platform):
    schema = schemathesis.openapi.from_url(f"{fuzzed.base_url}/schema")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            fuzz(operation, mode, fuzzed)


def fuzz(operation: Any, mode: GenerationMode, platform: Platform) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=MAX_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def check(case: Any) -> None:
        answer = case.call(headers=platform.test, timeout=30)
        checks = (status_code_conformance, content_type_conformance, no_server_error)
        case.validate_response(answer, checks=checks)

    try:
        check()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # an operation with nothing to get wrong


def no_server_error(_context: Any, answer: Any, _case: Any) -> None:
    # A model the fuzzer named by a provider's own name may be unknown there: that 502 is the provider's.
    if answer.status_code >= 500:
        body = answer.json()
        assert body["error_code"] in ("PROVIDER_ERROR", "MISSING_API_KEY"), body


def test_the_schema_and_its_pages_load_nothing_from_outside(fuzzed: Platform):
    page = httpx.get(f"{fuzzed.base_url}/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace(fuzzed.base_url, "")
    assert "https://" not in page.text
