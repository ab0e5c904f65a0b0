"""The guide is what an administrator works from, so it must be true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from apps.providers.mapped import _VALUES
from apps.providers.mapping import mapping_compile, mapping_fill, mapping_validate
from apps.providers.mapping_response import (
    _MEDIA_FIELDS,
    _MEDIA_KEYS,
    _POLL_FIELDS,
    _STREAM_FIELDS,
    ERROR_KEYS,
    FINISH_KEYS,
    TEXT_KEYS,
    USAGE_KEYS,
)
from apps.providers.transformations import _SIZES, BUILT_IN, CONVERSIONS, KEEP_SLASHES

GUIDE = (Path(__file__).parents[2] / "docs" / "adding-a-provider.md").read_text()
BLOCKS = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL) if "…" not in block
]
EXAMPLES = [block for block in BLOCKS if "endpoint" in block]
NAMED = set(re.findall(r"`\"?([A-Za-z0-9_]+)\"?`", GUIDE))


@pytest.mark.parametrize(
    ("example", "capability"), list(zip(EXAMPLES, ["text", "image", "video"], strict=True))
)
def test_an_example_of_the_guide_can_be_saved(example: dict[str, object], capability: str) -> None:
    assert mapping_validate(example, capabilities=[capability]) == []


def test_the_worked_example_sends_what_the_guide_says() -> None:
    values = {
        "model": "large-2",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.2,
        "mood": "happy",
    }
    request = mapping_fill(mapping_compile(EXAMPLES[0]), values, api_key="k", base_url="")
    assert json.loads(request.content) in BLOCKS


@pytest.mark.parametrize(
    "names",
    [
        {*BUILT_IN, KEEP_SLASHES},
        {*CONVERSIONS},
        {*_VALUES, "model", "stream", "text", "voice_id", "job_id", "api_key"},
        {*TEXT_KEYS, *FINISH_KEYS, *USAGE_KEYS, *_MEDIA_KEYS, *_MEDIA_FIELDS, *ERROR_KEYS, "media", "poll"},
        {*_STREAM_FIELDS, *_POLL_FIELDS},
    ],
    ids=["transformations", "conversions", "names", "response keys", "stream and poll keys"],
)
def test_the_guide_names_all_there_is(names: set[str]) -> None:
    assert names - NAMED == set()


def test_the_guide_gives_the_sizes_as_they_are() -> None:
    for ratio, size in _SIZES.items():
        assert f"`{ratio}` → `{size}`" in GUIDE
