"""Answers in the place of a dead run's gateway: each call is refused, so that the run's provider gives up. A hand.

A provider repeats a call that nobody accepts: the real one of Genesys Cloud 20 times, for eight minutes together, and
hears no wish to stop meanwhile (issue 11, measured with v1.70.0). A refusal ends the call at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus

_HEAD_BYTES = 65536
_BODY_BYTES = 1 << 20  # read and thrown away, so that the client has sent all of it before it is answered
_CALL_S = 10.0
_DIGITS = 12  # of a length that are read; Python refuses numbers of thousands of digits


class Fence:
    """The listeners in the place of gateways of dead runs of this machine."""

    def __init__(self) -> None:
        self._servers: dict[int, asyncio.Server] = {}

    async def stand(self, run: str, ports: Iterable[int]) -> None:
        """Refuse whatever comes to these ports of loopback; a port that somebody else has is left to them.

        Args:
            run: The dead run.
            ports: Where its gateway listened.
        """
        for port in ports:
            if port not in self._servers:
                with suppress(OSError):
                    answer = partial(_refuse, run)
                    self._servers[port] = await asyncio.start_server(answer, "127.0.0.1", port, limit=_HEAD_BYTES)

    def leave(self) -> None:
        """Stop listening."""
        servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            server.close()


async def _refuse(run: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_CALL_S):
            head = await reader.readuntil(b"\r\n\r\n")
            with suppress(asyncio.IncompleteReadError):
                await reader.readexactly(min(_length(head), _BODY_BYTES))
            writer.write(_answer(run, head))
            await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass  # it did not speak HTTP, or left
    finally:
        writer.close()


def _length(head: bytes) -> int:
    """Return the length of a request's body; 0 when its head does not say."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip()[:_DIGITS].isdigit():
            return int(value.strip()[:_DIGITS])
    return 0


def _answer(run: str, head: bytes) -> bytes:
    """Return what the living gateway says to a run whose grant is not current."""
    from interlock.gateway import answers
    from interlock.gateway.route import LOGIN_PATH

    if LOGIN_PATH.encode() in head.split(b"\r\n", 1)[0]:
        answer = answers.login_error(409, "access_denied", answers.fenced_text(run))
    else:
        answer = answers.fenced(run, correlation=run)
    status = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode()
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in answer.headers)
    ending = f"content-length: {len(answer.body)}\r\nconnection: close\r\n\r\n".encode()
    return status + headers + ending + answer.body
