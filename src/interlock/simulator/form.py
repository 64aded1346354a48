"""Multipart forms, as uploads send them. Pure."""

from __future__ import annotations

import re
from email.parser import BytesParser
from email.policy import HTTP

from .answer import ApiRefusal, Request, bad_request

MAX_PARTS = 10

_BOUNDARY = re.compile(r"multipart/form-data;.*boundary=", re.IGNORECASE)


def read_form(request: Request) -> dict[str, bytes]:
    """Return the parts of a form by their names.

    Raises:
        ApiRefusal: 400, it is not a form, or has no parts or too many.
    """
    kind = request.headers.get("content-type", "")
    if _BOUNDARY.match(kind) is None:
        raise bad_request("The upload must be multipart/form-data", "invalid.form")
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + request.body
    )
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if not 1 <= len(parts) <= MAX_PARTS:
        raise ApiRefusal(400, "invalid.form", f"The form must have 1 to {MAX_PARTS} parts")
    form: dict[str, bytes] = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            form[name] = payload
    return form
