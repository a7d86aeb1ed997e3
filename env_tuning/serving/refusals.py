"""What a client is told when it gets no answer, in the shape of OpenAI's errors.

Owns: statuses, types and codes. Refuses: deciding what is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

_TYPES: Mapping[int, str] = {429: "rate_limit_error"}


class RequestRefused(ValueError):
    """A request that is not served as asked.

    Attributes:
        status: of HTTP.
        parameter: the field that is at fault, if one is.
        code: what a program may tell the reason by.
    """

    def __init__(
        self, message: str, *, status: int = 400, parameter: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.parameter = parameter
        self.code = code


def error_body(error: RequestRefused) -> dict[str, Any]:
    """The JSON of an error."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": str(error), "type": kind, "param": error.parameter, "code": error.code}}


def error_response(error: RequestRefused) -> JSONResponse:
    """The response of an error; a client that came too often is told to wait a second."""
    headers = {"Retry-After": "1"} if error.status == 429 else None
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)
