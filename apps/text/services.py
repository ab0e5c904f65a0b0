"""Asking a text model: whole or streamed, limited, timed, charged.

Every call to a provider is one `_Attempt`: it holds the limiter's grant from before the call, and leaves exactly one
ledger row behind, whether it succeeded, failed or was left by its client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings

from apps.accounts.changes import snapshot_read
from apps.accounts.selectors import Caller
from apps.core.errors import GatewayError, JsonValidationFailed, ProviderError
from apps.providers.registry import text_adapter
from apps.providers.types import (
    FinishReason,
    ImagePart,
    ReasoningPart,
    TextChunk,
    TextPart,
    TextRequest,
    TextResult,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from apps.text.inputs import TextInput
from apps.text.json_answers import JsonFault, answer_parse, request_for_json, request_for_repair
from apps.usage.costs import Cost, cost_of
from apps.usage.ledger import LedgerRow
from apps.usage.limits import Grant
from apps.usage.models import LedgerEntry
from apps.usage.provider_state import provider_failed, provider_succeeded
from apps.usage.routes import Route, RouteQuery, route_get
from apps.usage.runtime import runtime

SERVICE = "text"
# Rules of thumb for what is not counted by anybody else.
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_IMAGE = 800


class TextOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request: everything an answer's metadata says. Sums run over its attempts."""

    route: Route
    text: str
    usage: Usage
    cost_usd: Decimal | None
    generation_time_ms: int
    finish_reason: FinishReason
    model: str
    result: TextResult | None = None
    json_value: Any = msgspec.UNSET
    attempts: int = 1


# What makes bytes for the client of pieces of an answer (maybe none), and of its outcome.
Renderer = Callable[[list[TextChunk] | TextOutcome], bytes]


class TextCall:
    """One client request on its way: who asks, what, and by which route."""

    def __init__(self, *, caller: Caller, route: Route, given: TextInput, request_id: str) -> None:
        self.caller = caller
        self.route = route
        self.given = given
        self.request_id = request_id
        self.grant: Grant | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What every answer to this request carries, failures included."""
        headers = dict(self.grant.headers) if self.grant is not None else {}
        if self.route.record.is_deprecated:
            headers["Deprecation"] = "true"
        if self.route.spec.is_sandbox:
            headers["X-DE-Sandbox"] = "1"
        if runtime().limiter.is_degraded:
            headers["X-DE-Degraded"] = "limits"
        return headers


async def text_call_open(
    *, caller: Caller, given: TextInput, request_id: str, rehearse: str | None = None
) -> TextCall:
    """Find the way a request goes. Raises what is wrong with it before anything is counted or paid.

    rehearse: X-DE-Rehearse; only ever passed on to the sandbox.
    """
    query = RouteQuery(
        service=SERVICE,
        capability="text",
        instance_id=given.instance_id,
        project_id=given.project_id,
        model_id=given.model_id,
        model=given.model,
    )
    route = await snapshot_read(route_get, caller, query, default_model_id=settings.DE_DEFAULT_TEXT_MODEL)
    if rehearse and route.spec.is_sandbox:
        headers = (("X-DE-Rehearse", rehearse), ("X-DE-Rehearse-Key", request_id))
        route = msgspec.structs.replace(route, spec=msgspec.structs.replace(route.spec, headers=headers))
    return TextCall(caller=caller, route=route, given=given, request_id=request_id)


# --- one attempt at one provider -----------------------------------------------------------------------------


class _Attempt:
    """One call to a provider, from the limiter's leave to the ledger's row."""

    def __init__(self, call: TextCall, request: TextRequest, *, number: int = 1, is_stream: bool) -> None:
        self.call = call
        self.request = request
        self.number = number
        self.is_stream = is_stream
        self.started = time.monotonic()
        self.first_token_at: float | None = None
        self.said: list[str] = []
        self.unseen_characters = 0  # reasoning and the arguments of tool calls
        self.finish_reason = FinishReason.UNKNOWN
        self.model = call.route.record.model
        self.usage: Usage | None = None
        self._is_closed = False

    async def open(self) -> None:
        """Raises LimitReached."""
        self.call.grant = await runtime().limiter.acquire(
            self.call.route.plan, tokens=input_tokens_guess(self.request) + (self.request.max_tokens or 0)
        )
        self.started = time.monotonic()

    def note(self, chunks: list[TextChunk]) -> None:
        """Keep what streamed pieces say: the text, and the cost of it all."""
        for chunk in chunks:
            if chunk.text:
                self.said.append(chunk.text)
            if chunk.usage is not None:
                self.usage = chunk.usage
            if chunk.finish_reason is not None:
                self.finish_reason = chunk.finish_reason
            if chunk.model is not None:
                self.model = chunk.model
            if chunk.reasoning or chunk.tool_calls:
                self.unseen_characters += len(chunk.reasoning)
                self.unseen_characters += sum(len(delta.arguments) for delta in chunk.tool_calls)
        if self.first_token_at is None and any(chunk.has_content for chunk in chunks):
            self.first_token_at = time.monotonic()

    @property
    def text(self) -> str:
        return "".join(self.said)

    async def close(
        self, status: LedgerEntry.Status, *, failure: GatewayError | None = None
    ) -> tuple[Usage, Cost]:
        """Give the slots back and return when the row is committed. What was used is charged however it ended."""
        if self._is_closed:
            raise RuntimeError("An attempt is charged once.")
        self._is_closed = True
        spec = self.call.route.spec
        reported, is_estimated = self._charged(status, failure)
        cost = cost_of(reported, self.call.route.prices, at=time.time(), is_answered=reported is not None)
        usage = reported or Usage()
        if self.call.grant is not None:
            runtime().limiter.release(self.call.grant, tokens=usage.total_tokens)
        if failure is None:
            provider_succeeded(spec.provider)
        elif isinstance(failure, ProviderError):
            provider_failed(spec.provider, failure.code)
        row = self._row(status, failure, usage, cost, is_estimated=is_estimated)
        await runtime().ledger.put(row)
        return usage, cost

    def _charged(self, status: LedgerEntry.Status, failure: GatewayError | None) -> tuple[Usage | None, bool]:
        """(what is charged, whether we had to guess). None: it failed before anything was said, so it cost nothing."""
        reported = self.usage if self.usage is not None else getattr(failure, "usage", None)
        said = sum(map(len, self.said)) + self.unseen_characters
        output_guess = -(-said // CHARACTERS_PER_TOKEN)
        if reported is not None:
            # Makers that report as they go send their final count last: short of the end, believe what we saw.
            if status is LedgerEntry.Status.SUCCEEDED or reported.output_tokens >= output_guess:
                return reported, False
            return msgspec.structs.replace(reported, output_tokens=output_guess), True
        if failure is not None and not said:
            return None, False
        return Usage(input_tokens=input_tokens_guess(self.request), output_tokens=output_guess), True

    def _row(
        self,
        status: LedgerEntry.Status,
        failure: GatewayError | None,
        usage: Usage,
        cost: Cost,
        *,
        is_estimated: bool,
    ) -> LedgerRow:
        route, caller = self.call.route, self.call.caller
        now = time.monotonic()
        return LedgerRow(
            created_at=datetime.now(UTC),
            request_id=self.call.request_id,
            attempt=self.number,
            instance_id=route.instance.instance_id,
            project_id=route.project_id,
            user_id=caller.user.user_id if caller.user else "",
            key_id=caller.key.key_id if caller.key else "",
            service=SERVICE,
            model_id=route.record.model_id,
            provider_id=route.record.provider_id,
            provider_model=route.record.model,
            input_tokens=usage.input_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            unit_prices=cost.unit_prices,
            cost_usd=cost.cost_usd,
            status=status,
            error_code=failure.code if failure else "",
            latency_ms=_milliseconds(now - self.started),
            ttft_ms=_milliseconds(self.first_token_at - self.started) if self.first_token_at else None,
            is_stream=self.is_stream,
            is_sandbox=route.spec.is_sandbox,
            is_estimated=is_estimated,
        )


# --- whole answers -------------------------------------------------------------------------------------------


async def text_generate(call: TextCall) -> TextOutcome:
    """One whole answer, parsed, checked and repaired when JSON is expected.

    Raises JsonValidationFailed when the repairs did not help, and whatever limiter and provider raise.
    """
    given = call.given
    if not given.expect_json:
        result, usage, cost, elapsed_ms = await _ask(call, given.request, number=1)
        return _outcome(call, result, usage, cost.cost_usd, elapsed_ms)
    asked = request = request_for_json(given.request, given.json_schema)
    spent, price, elapsed = Usage(), Decimal(0), 0
    total_cost: Decimal | None = price
    fault = JsonFault("")
    for number in range(1, given.json_max_retries + 2):
        result, usage, cost, attempt_ms = await _ask(call, request, number=number)
        spent, elapsed = _sum(spent, usage), elapsed + attempt_ms
        total_cost = None if total_cost is None or cost.cost_usd is None else total_cost + cost.cost_usd
        try:
            value = answer_parse(result.text, given.json_schema)
        except JsonFault as exc:
            fault = exc
            request = request_for_repair(asked, result.text, exc)
            continue
        outcome = _outcome(call, result, spent, total_cost, elapsed)
        return msgspec.structs.replace(outcome, json_value=value, attempts=number)
    raise JsonValidationFailed(
        f"The model's answer could not be used as JSON after {number} attempts: {fault}.",
        details={"attempts": number, "reason": str(fault), "text": result.text[:2000]},
    )


async def _ask(call: TextCall, request: TextRequest, *, number: int) -> tuple[TextResult, Usage, Cost, int]:
    """One attempt from leave to ledger row. Raises what the provider raised, once it is recorded."""
    spec = call.route.spec
    attempt = _Attempt(call, request, number=number, is_stream=False)
    await attempt.open()
    try:
        result = await runtime().client.text(spec, text_adapter(spec.adapter), request)
    except GatewayError as exc:
        await attempt.close(LedgerEntry.Status.FAILED, failure=exc)
        raise
    except asyncio.CancelledError:
        await attempt.close(LedgerEntry.Status.CANCELED)
        raise
    except Exception:  # a bug of ours: the provider may have been paid all the same
        await attempt.close(LedgerEntry.Status.FAILED, failure=GatewayError())
        raise
    attempt.usage = result.usage
    attempt.said.append(result.text)
    elapsed_ms = _milliseconds(time.monotonic() - attempt.started)
    usage, cost = await attempt.close(LedgerEntry.Status.SUCCEEDED)
    return result, usage, cost, elapsed_ms


def _outcome(
    call: TextCall, result: TextResult, usage: Usage, cost_usd: Decimal | None, elapsed_ms: int
) -> TextOutcome:
    return TextOutcome(
        route=call.route,
        text=result.text,
        usage=usage,
        cost_usd=cost_usd,
        generation_time_ms=elapsed_ms,
        finish_reason=result.finish_reason,
        model=result.model or call.route.record.model,
        result=result,
    )


# --- streamed answers ----------------------------------------------------------------------------------------


async def text_stream(call: TextCall, *, render: Renderer) -> AsyncGenerator[bytes, None]:
    """An answer as it comes, in the words of `render`: given the pieces of one network read, and last the outcome.

    The row is committed before the outcome is rendered. Closing the generator, or cancelling the task that runs it,
    closes the provider's connection; what was used by then is charged. Rendering happens in here, rather than in a
    generator around this one, since every layer is paid for once per piece.
    """
    request, spec = call.given.request, call.route.spec
    adapter = text_adapter(spec.adapter)
    if adapter.stream_format(spec) is None:
        outcome = await text_generate(call)
        yield render([TextChunk(text=outcome.text)])
        yield render(outcome)
        return
    attempt = _Attempt(call, request, is_stream=True)
    await attempt.open()
    try:
        async with runtime().client.text_stream(spec, adapter, request) as stream:
            while (chunks := await stream.read()) is not None:
                attempt.note(chunks)
                if data := render(chunks):
                    yield data
    except GatewayError as exc:
        await attempt.close(LedgerEntry.Status.FAILED, failure=exc)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        await attempt.close(LedgerEntry.Status.CANCELED)
        raise
    except Exception:  # a bug of ours: the provider was paid all the same
        await attempt.close(LedgerEntry.Status.FAILED, failure=GatewayError())
        raise
    elapsed_ms = _milliseconds(time.monotonic() - attempt.started)
    usage, cost = await attempt.close(LedgerEntry.Status.SUCCEEDED)
    yield render(
        TextOutcome(
            route=call.route,
            text=attempt.text,
            usage=usage,
            cost_usd=cost.cost_usd,
            generation_time_ms=elapsed_ms,
            finish_reason=attempt.finish_reason,
            model=attempt.model,
        )
    )


# --- figures -------------------------------------------------------------------------------------------------


def input_tokens_guess(request: TextRequest) -> int:
    """Tokens of a request by rule, for limits before the call and for charging when the provider gave no figure."""
    characters, images = len(request.system or ""), 0
    for message in request.messages:
        for part in message.parts:
            match part:
                case TextPart(text=text) | ReasoningPart(text=text) | ToolResultPart(content=text):
                    characters += len(text)
                case ToolCallPart(arguments=arguments):
                    characters += len(arguments)
                case ImagePart():
                    images += 1
    return -(-characters // CHARACTERS_PER_TOKEN) + images * TOKENS_PER_IMAGE


def _sum(left: Usage, right: Usage) -> Usage:
    return Usage(**{name: getattr(left, name) + getattr(right, name) for name in Usage.__struct_fields__})


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
