"""Headers as an HTTP message brings them."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message


def headers_of(pairs: Iterable[tuple[str, str]]) -> Message:
    """What http.client makes of them: found by their names in any case."""
    message = Message()
    for name, value in pairs:
        message[name] = value
    return message
