"""What workspaces, state versions and outputs are called in the TFE API, and which state that is. Pure.

`organization` and workspace name the state `ORGANIZATION/WORKSPACE`, which can be reached by every other way too.

A client asks for a workspace by its name once and then uses the id that it was told, in LOCK, in every write and in
UNLOCK. None of those says anything else about who sends it, and people share tokens. So each time a
Terraform asks for a workspace by name, its id ends with a *session*, fresh: it tells two Terraforms with one token
apart, and makes of a repeated LOCK a repetition. Ids that are listed, and those that scripts are told, have none: for
these all that comes with one token is one client's.
Source: docs/facts/servers.md#server-15.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from msgspec import Struct

from interlock.coordinator.names import check_state_name
from interlock.errors import UsageError

SESSION_CHARS = 16
UPLOAD_CHARS = 20
_BETWEEN = "~"  # in no name of a state, and a URL need not quote it
_SESSION = re.compile(r"[0-9a-z]{16}\Z", re.ASCII)
_UPLOAD = re.compile(r"u([0-9a-z]{20})\Z", re.ASCII)
_NUMBER = re.compile(r"v([1-9][0-9]{0,17})\Z", re.ASCII)
_WORKSPACE, _VERSION, _OUTPUT = "ws-", "sv-", "wsout-"
_TICKET_CHARS = 20


class NotFound(UsageError):
    """There is nothing of this name. What a client makes of it is that it may be made."""

    http_status = 404


class WorkspaceId(Struct, frozen=True, kw_only=True):
    """Which state a workspace's id names.

    Attributes:
        state: The state.
        session: Of the client that asked for the workspace; empty for an id out of a list.
    """

    state: str
    session: str = ""

    def __str__(self) -> str:
        """Spell it."""
        whole = _WORKSPACE + _flat(self.state)
        return f"{whole}{_BETWEEN}{self.session}" if self.session else whole


class VersionId(Struct, frozen=True, kw_only=True):
    """Which state version an id names: one that is stored, by its number, or one that is being uploaded.

    Attributes:
        state: The state.
        number: Of the version; 0 for an upload.
        upload: Of the upload; empty for a version.
    """

    state: str
    number: int = 0
    upload: str = ""

    def __str__(self) -> str:
        """Spell it."""
        last = f"u{self.upload}" if self.upload else f"v{self.number}"
        return f"{_VERSION}{_flat(self.state)}{_BETWEEN}{last}"


class OutputId(Struct, frozen=True, kw_only=True):
    """Which output an id names.

    Attributes:
        state: The state.
        number: Of the version.
        name: Of the output.
    """

    state: str
    number: int
    name: str

    def __str__(self) -> str:
        """Spell it. Terraform takes names in any script."""
        name = base64.urlsafe_b64encode(self.name.encode()).decode().rstrip("=")
        return f"{_OUTPUT}{_flat(self.state)}{_BETWEEN}v{self.number}{_BETWEEN}{name}"


def state_of(organization: str, workspace: str) -> str:
    """Return the state of a workspace.

    Raises:
        UsageError: No state can be called so.
    """
    if "/" in organization or "@" in organization or "/" in workspace:
        raise UsageError(
            f"{f'{organization}/{workspace}'[:200]!a} is not the name of a workspace here",
            why="organization and workspace are one part each of the name of a state",
            fix="use letters, digits, '.', '_' and '-', and begin with a letter or digit: acme/routing",
        )
    return check_state_name(f"{organization}/{workspace}")


def organization_of(state: str) -> str:
    """Return the first part of a state's name."""
    return state.partition("/")[0]


def workspace_of(state: str) -> str:
    """Return the rest of a state's name."""
    return state.partition("/")[2]


def is_workspace(state: str) -> bool:
    """Say whether a state can be had as a workspace: its name has two parts."""
    return state.count("/") == 1


def parse_workspace_id(text: str) -> WorkspaceId:
    """Read the id of a workspace.

    Raises:
        NotFound: It is not one of ours.
    """
    parts = _parts(text, _WORKSPACE)
    session = parts[2] if len(parts) == 3 else ""  # noqa: PLR2004 - organization, workspace, session
    if len(parts) not in (2, 3) or (len(parts) == 3 and not _SESSION.match(session)):  # noqa: PLR2004
        raise _unknown("workspace")
    return WorkspaceId(state=_state(parts, "workspace"), session=session)


def parse_version_id(text: str) -> VersionId:
    """Read the id of a state version.

    Raises:
        NotFound: It is not one of ours.
    """
    parts = _parts(text, _VERSION)
    if len(parts) != 3:  # noqa: PLR2004 - organization, workspace, number or upload
        raise _unknown("state version")
    state = _state(parts, "state version")
    if number := _NUMBER.match(parts[2]):
        return VersionId(state=state, number=int(number[1]))
    if upload := _UPLOAD.match(parts[2]):
        return VersionId(state=state, upload=upload[1])
    raise _unknown("state version")


def parse_output_id(text: str) -> OutputId:
    """Read the id of an output.

    Raises:
        NotFound: It is not one of ours.
    """
    parts = _parts(text, _OUTPUT)
    number = _NUMBER.match(parts[2]) if len(parts) == 4 else None  # noqa: PLR2004 - and the name
    if number is None:
        raise _unknown("output")
    try:
        name = base64.urlsafe_b64decode(parts[3] + "=" * (-len(parts[3]) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise _unknown("output") from None
    return OutputId(state=_state(parts, "output"), number=int(number[1]), name=name)


def ticket_prefix(key: str, session: str) -> str:
    """Return how the tickets begin that a client has in the queues of states.

    Args:
        key: Of the token, by which its owner is known again.
        session: Of the workspace's id; without one, all that the token asks is one client's.
    """
    return f"tfe-{hashlib.sha256(f'{key} {session}'.encode()).hexdigest()[:_TICKET_CHARS]}."


def _flat(state: str) -> str:
    return state.replace("/", _BETWEEN)


def _parts(text: str, prefix: str) -> list[str]:
    return text.removeprefix(prefix).split(_BETWEEN) if text.startswith(prefix) else []


def _state(parts: list[str], what: str) -> str:
    try:
        return state_of(parts[0], parts[1])
    except UsageError:
        raise _unknown(what) from None


def _unknown(what: str) -> NotFound:
    return NotFound(f"there is no such {what}", why="its id is not one of this server")
