"""Which part of the gateway a request line means, and which request lines are refused.

| path | who |
|---|---|
| `/r/<run>/<token>/api/v2/...`, `/r/<run>/<token>/oauth/token` | a supervised run |
| `/c/<name>/api/v2/...`, `/c/<name>/oauth/token` | a named client; the name is the unit of fairness |
| `/api/v2/...`, `/oauth/token` | a client without a name |
| `/r/<run>/<token>/files/...` | a supervised run, with a file for an address that the API gave it; see `files.py` |
| `/healthz`, `/readyz` | probes |

What is under `/api/v2/` is sent on, always to the one configured host, and never with a path that somebody on
the way could read in another way: dot segments (also encoded), backslashes, empty segments and control characters are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

PATH_MAX = 4096
"""Longest path in bytes."""
QUERY_MAX = 16 * 1024
"""Longest query in bytes; the API's own servers take less."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are passed on; TRACE and CONNECT are not."""

ANONYMOUS = "-"
"""The flow of clients without a name."""

LOGIN_PATH = "/oauth/token"
"""Where clients log in, after their prefix."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATH = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/|\[\]{}\"^]*")
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e]*")  # printable ASCII without space and #
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_OTHERWISE = re.compile(rb"[\x00-\x1f\x7f\\]|/\.\.?(?:[/;]|\Z)")
"""What somebody on the way could read in another way: control characters, backslashes, dot segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCaller:
    """A supervised run, by the prefix that only it was told."""

    run: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCaller:
    """Any other tool, under the name in its prefix; `ANONYMOUS` without one."""

    name: str


Caller: TypeAlias = RunCaller | NamedCaller


class Door(Enum):
    """What a path leads to."""

    API = "api"
    LOGIN = "login"
    FILES = "files"
    HEALTH = "healthz"
    READY = "readyz"


PATHS: Mapping[Door, str] = {
    Door.API: "/api/v2/",
    Door.LOGIN: LOGIN_PATH,
    Door.FILES: "/files/",
    Door.HEALTH: "/healthz",
    Door.READY: "/readyz",
}
"""Where each door is, after the prefix of its client; that of the API or of files is the beginning of a path."""
_WIDE = (Door.API, Door.FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A request line that was understood.

    Attributes:
        door: What it leads to.
        caller: Who says so; to be proved.
        path: From `/api/v2/` or `/files/` on, exactly as sent; empty for the other doors.
        query: Without the question mark, exactly as sent.
    """

    door: Door
    caller: Caller
    path: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request line that goes nowhere: an HTTP status, the API's kind of code, and a sentence."""

    status: int
    code: str
    message: str


def find_route(method: str, raw_path: bytes, query: bytes) -> Route | Refused:
    """Read a request line.

    Args:
        method: As sent.
        raw_path: As sent, undecoded, without the query.
        query: As sent, without the question mark.
    """
    if method not in METHODS:
        return Refused(status=405, code="method.not.allowed", message=f"the gateway does not pass on {method[:16]!r}")
    fault = _fault(raw_path, query)
    if fault:
        return Refused(status=400, code="bad.request", message=fault)
    caller, rest = _caller(raw_path.decode())
    door = None if caller is None else _door(rest)
    if caller is None or door is None:
        return NOWHERE
    if door in _WIDE:
        return Route(door=door, caller=caller, path=rest, query=query.decode())
    return Route(door=door, caller=caller)


def claimed_run(raw_path: bytes) -> RunCaller | None:
    """Return the run whose prefix a path has, whatever else is wrong with it; None for no such prefix."""
    caller, _ = _caller(raw_path.decode("latin-1"))
    return caller if isinstance(caller, RunCaller) else None


NOWHERE = Refused(
    status=404,
    code="not.found",
    message="the gateway serves /api/v2/... and /oauth/token, alone or after /c/NAME or a run's own prefix",
)
"""The answer to a request line that leads nowhere."""


def _door(rest: str) -> Door | None:
    for door in _WIDE:
        if rest.startswith(PATHS[door]):
            return door
    return next((door for door, path in PATHS.items() if path == rest), None)


def _caller(path: str) -> tuple[Caller | None, str]:
    parts = path.split("/", 4)
    match parts:
        case ["", "r", run, token, rest] if _NAME.fullmatch(run) and token:
            return RunCaller(run=run, token=token), f"/{rest}"
        case ["", "c", name, *rest] if _NAME.fullmatch(name):
            return NamedCaller(name=name), "/" + "/".join(rest)
        case ["", "r" | "c", *_]:
            return None, ""
        case _:
            return NamedCaller(name=ANONYMOUS), path


def _fault(raw_path: bytes, query: bytes) -> str:
    """Return what is wrong with the bytes of a request line; empty for nothing."""
    if len(raw_path) > PATH_MAX or len(query) > QUERY_MAX:
        return f"the path may have {PATH_MAX} bytes and the query {QUERY_MAX}"
    if not _PATH.fullmatch(raw_path) or not _QUERY.fullmatch(query):
        return "the request line must be an absolute path of printable ASCII"
    if _BROKEN_ESCAPE.search(raw_path):
        return "the path has a broken percent escape"
    once = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    twice = unquote_to_bytes(once) if b"%" in once else once
    if b"//" in raw_path or any(_OTHERWISE.search(each) for each in {once, twice}):
        return "the path has dot segments, empty segments, backslashes or control characters"
    return ""
