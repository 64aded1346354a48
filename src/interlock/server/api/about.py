"""Endpoints about the server and about who asks."""

from __future__ import annotations

from msgspec import Struct

from interlock import __version__
from interlock.rights import Right
from interlock.rights.callers import may_do
from interlock.server.api.table import AnyEndpoint, Call, NoBody, reads


class AskedAboutMe(Struct, frozen=True, kw_only=True):
    """Asks what the token may do.

    Attributes:
        state: To which state; by default to all.
    """

    state: str = ""


class AboutMe(Struct, frozen=True, kw_only=True):
    """Who asks, and of what server.

    Attributes:
        who: As the server writes down what this one does.
        rights: What this one may do to the state that was asked about.
        version: Of the server.
    """

    who: str
    rights: list[str]
    version: str


async def _me(call: Call[AskedAboutMe, NoBody]) -> AboutMe:
    """Who asks, and what that one may do."""
    state = call.query.state or "**"
    rights = [right.value for right in Right if may_do(call.caller, right, state)]
    return AboutMe(who=call.caller.who, rights=rights, version=__version__)


def about_endpoints() -> list[AnyEndpoint]:
    """Return the rows."""
    return [reads("/me", _me, right=None, query=AskedAboutMe, answer=AboutMe)]
