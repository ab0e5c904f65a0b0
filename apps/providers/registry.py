"""Name -> adapter. To add one, write its file and its line here; docs/adding-a-provider.md has the steps."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, cast

from apps.core.errors import InvalidModelCapability
from apps.providers.base import TextAdapter

TEXT_ADAPTERS: dict[str, str] = {
    "openai": "apps.providers.openai.OpenAIAdapter",
    "anthropic": "apps.providers.anthropic.AnthropicAdapter",
    "gemini": "apps.providers.gemini.GeminiAdapter",
    "mapped": "apps.providers.mapped.MappedAdapter",
}

MAPPED = "mapped"
BUILT_IN_PROVIDERS = tuple(name for name in TEXT_ADAPTERS if name != MAPPED)


def text_adapter(name: str) -> TextAdapter:
    """The adapter of that name. Raises InvalidModelCapability when it is none that writes text."""
    if name not in TEXT_ADAPTERS:
        raise InvalidModelCapability(
            f"No text adapter is called {name!r}; there are {', '.join(sorted(TEXT_ADAPTERS))}."
        )
    return cast(TextAdapter, _instance(TEXT_ADAPTERS[name]))


@cache
def _instance(path: str) -> Any:
    """One instance for the whole process: adapters keep no state. Imported when first asked for."""
    module, _, attribute = path.rpartition(".")
    return getattr(import_module(module), attribute)()
