"""The paths of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from maskgrpo_cli import __version__
from maskgrpo_cli.cancelling import end
from maskgrpo_cli.domains import scoring_protocol as protocol
from maskgrpo_cli.domains.scoring_protocol import ErrorResponse, ScoreRequest, ScoreResponse, ServerInfo
from maskgrpo_cli.server.batching import Job
from maskgrpo_cli.server.bodies import Bodies
from maskgrpo_cli.server.parsing import FORM, JSON, Parsed, check_media_type, parse
from maskgrpo_cli.server.refusals import Refused
from maskgrpo_cli.server.scoring import Failure
from maskgrpo_cli.server.service import Service

PARSERS = 2  # threads that read JSON: more would only hold more of it in memory
REFUSALS = {
    400: "The body is no JSON, or no form.",
    401: "The token is missing or wrong.",
    408: "The body took too long.",
    413: "More than a limit: of bytes, items or pictures.",
    415: "The media type is neither JSON nor a form.",
    422: "A field is wrong; the answer names it.",
    429: "The queue or the memory is full; try again after Retry-After seconds.",
    500: "A bug, or samples that workers died of.",
    503: "The server is loading or about to end.",
    504: "No scores in time.",
}


def build(service: Service) -> FastAPI:
    """The application that answers requests by a service."""
    app = FastAPI(title="maskgrpo reward server", version=__version__, redoc_url=None)
    _add_refusals(app)
    _add_probes(app, service)
    scorer = Scorer(service)

    @app.post(
        protocol.SCORE,
        summary="Score completions",
        responses=_responses(ScoreResponse, *REFUSALS),
        response_class=Response,
        openapi_extra={"requestBody": _body(), "security": [{"token": []}, {}]},
    )
    async def score(request: Request) -> Response:
        return await scorer.answer(request)

    app.openapi = lambda: _openapi(app)
    return app


class Scorer:
    """Answers `POST /v1/score`."""

    def __init__(self, service: Service):
        self._service, self._options = service, service.options
        self._bodies = Bodies(service.options, service.metrics)
        self._parsers = ThreadPoolExecutor(PARSERS, "parser")

    async def answer(self, request: Request) -> Response:
        """The scores of what the request brings. Raises Refused."""
        began = time.perf_counter()
        self._service.check_open()
        content_type = request.headers.get("content-type", "")
        check_media_type(content_type)
        self._service.queue.check_room()
        with self._service.accepted():
            async with self._bodies.read(request) as body:
                parsed = await asyncio.get_running_loop().run_in_executor(
                    self._parsers, parse, body, content_type, self._options.limits, self._service.versions
                )
                body.clear()  # the samples are enough
                job = Job(parsed.rewards, parsed.samples, parsed.paths)
                await self._scored(request, job, max(0.0, parsed.timeout - (time.perf_counter() - began)))
            return self._response(request, parsed, job, time.perf_counter() - began)

    async def _scored(self, request: Request, job: Job, timeout: float) -> None:
        """Wait for the scores as long as the client does."""
        scoring = asyncio.ensure_future(self._service.score(job, timeout))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({scoring, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not scoring.done():
                raise ClientDisconnect
            scoring.result()
        finally:
            await end([scoring, leaving])

    def _response(self, request: Request, parsed: Parsed, job: Job, seconds: float) -> Response:
        rewards = {
            name: {"version": self._service.versions[name], "scores": [_told(outcome) for outcome in job.scores[name]]}
            for name in parsed.rewards
        }
        timing = {"queue_s": job.queue_s, "score_s": job.score_s, "total_s": seconds}
        response = ScoreResponse.model_validate(
            {
                "request_id": request.state.request_id,
                "items": parsed.ids,
                "rewards": rewards,
                "timing": timing,
                "batches": job.batches,
            }
        )
        request.state.fields.update(
            items=len(parsed.ids), batches=job.batches, queue_ms=round(1000 * job.queue_s, 2)
        )
        return Response(response.model_dump_json(), headers={"Cache-Control": "no-store"}, media_type=JSON)


def _told(outcome: float | Failure | None) -> float | dict[str, str] | None:
    return {"error": outcome.error} if isinstance(outcome, Failure) else outcome


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get(protocol.HEALTH, summary="Whether the server runs at all", response_class=Response,
             responses={200: {"content": {"text/plain": {}}}})  # fmt: skip
    async def health() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get(protocol.READY, summary="Whether it takes requests", response_class=Response,
             responses={**_responses(None, 503), 200: {"content": {"text/plain": {}}}})  # fmt: skip
    async def ready() -> Response:
        service.check_open()
        return Response("ready\n", media_type="text/plain")

    @app.get(protocol.METRICS, summary="Numbers for Prometheus", response_class=Response,
             responses={**_responses(None, 401), 200: {"content": {"text/plain": {}}}},
             openapi_extra={"security": [{"token": []}, {}]})  # fmt: skip
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get(protocol.INFO, summary="What it has and takes", response_class=Response,
             responses=_responses(ServerInfo, 401, 503),
             openapi_extra={"security": [{"token": []}, {}]})  # fmt: skip
    async def info() -> Response:
        if not service.versions:
            service.check_open()
        return Response(service.info().model_dump_json(), media_type=JSON)


def _add_refusals(app: FastAPI) -> None:
    async def refused(request: Request, error: Refused) -> Response:
        request.state.fields.update(code=error.code, field=error.field)
        return error.answer(request.state.request_id)

    async def unknown(request: Request, error: HTTPException) -> Response:
        why = {404: "there is nothing at this path", 405: "this path does not know the method"}
        answer = Refused(error.status_code, "http", why.get(error.status_code, str(error.detail))[:300])
        response = answer.answer(request.state.request_id)
        response.headers.update(error.headers or {})
        return response

    async def left(request: Request, error: ClientDisconnect) -> Response:
        request.state.fields.update(code="client-left")
        return Refused(400, "client-left", "the client left before its answer").answer(request.state.request_id)

    async def bug(request: Request, error: Exception) -> Response:
        why = "a bug of the server; its log tells more"
        return Refused(500, "bug", why, close=True).answer(request.state.request_id)

    handlers: dict[Any, Callable] = {Refused: refused, HTTPException: unknown, ClientDisconnect: left, Exception: bug}
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


# --- the OpenAPI page -------------------------------------------------------------------------------


def _responses(model: type | None, *statuses: int) -> dict[int | str, dict[str, Any]]:
    refusals = {status: {"model": ErrorResponse, "description": REFUSALS[status]} for status in statuses}
    return {**({} if model is None else {200: {"model": model, "description": "Done."}}), **refusals}


def _body() -> dict[str, Any]:
    request = {"$ref": "#/components/schemas/ScoreRequest"}
    form = {
        "type": "object",
        "properties": {protocol.REQUEST_PART: request},
        "required": [protocol.REQUEST_PART],
        "additionalProperties": {"type": "string", "format": "binary"},
    }
    return {"required": True, "content": {JSON: {"schema": request}, FORM: {"schema": form}}}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema, with what is read from the body by hand, for speed and its limits."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        request = ScoreRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {}).update(request.pop("$defs"), ScoreRequest=request)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = schema
    return app.openapi_schema
