"""Why a request is not answered, and the answer that says so."""

from __future__ import annotations

from starlette.responses import Response

from maskgrpo_cli.domains.scoring_protocol import ErrorDetail, ErrorResponse

RETRYABLE = (408, 429, 503, 504)
"""The statuses after which the same request may be answered later."""


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP, 400 to 599.
        code: a word for programs.
        message: a sentence for people.
        field: the culprit, such as items[3].prompt.
        retry_after: seconds after which another try makes sense.
        close: whether the connection ends with the answer, because what it still brings is not wanted.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        *,
        retry_after: float | None = None,
        close: bool = False,
    ):
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.retry_after, self.close = retry_after, close

    def answer(self, request_id: str) -> Response:
        """The answer to the request of this id."""
        detail = ErrorDetail(
            code=self.code,
            message=self.message,
            field=self.field,
            retryable=self.status in RETRYABLE,
            request_id=request_id,
        )
        headers = {"Cache-Control": "no-store"}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.close:
            headers["Connection"] = "close"
        content = ErrorResponse(error=detail).model_dump_json()
        return Response(content, self.status, headers, media_type="application/json")


def invalid(field: str, message: str) -> Refused:
    """A request that can be read, but not carried out."""
    return Refused(422, "invalid", message, field)
