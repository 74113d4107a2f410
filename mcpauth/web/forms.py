"""Form requests, RFC 6749 §3.2 and Appendix B: parameters in the body, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidRequest
from mcpauth.oauth.form import Form, parse_form
from mcpauth.web.body import only_header, read_body

if TYPE_CHECKING:
    from starlette.requests import Request

FORM = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> Form:
    """The parameters of a POST.

    Raises:
        InvalidRequest: not a form, too long (413), a parameter repeated, or parameters in the query: a query
            ends up in logs, and these are secrets (§2.3.1).
    """
    # The raw bytes: what is not even text is a query, too.
    if request.scope["query_string"]:
        raise InvalidRequest("parameters belong in the body")
    only_header(request, "authorization")
    return Form(parse_form(await read_body(request, FORM)))
