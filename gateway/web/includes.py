"""What a client asks for beyond the documented fields: `?include=...`."""

from __future__ import annotations

from typing import Final, Literal

from starlette.requests import Request

from gateway.errors import InvalidParameterError

Extra = Literal["evidence", "histogram", "model"]
EVIDENCE: Final[Extra] = "evidence"
HISTOGRAM: Final[Extra] = "histogram"
MODEL: Final[Extra] = "model"
PARAMETER: Final = "include"


def check_includes(request: Request, *known: Extra) -> set[str]:
    """The extras that the request asks for, separated by commas or in several parameters.

    Raises:
        InvalidParameterError: One that the route does not know.
    """
    values = request.query_params.getlist(PARAMETER)
    wanted = {part.strip() for value in values for part in value.split(",")}
    if not wanted <= set(known):
        names = ", ".join(known) or "none on this route"
        raise InvalidParameterError(f"Values of `{PARAMETER}`: {names}.")
    return wanted
