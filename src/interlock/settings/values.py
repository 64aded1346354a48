"""What the person, the machine and the repository decide, as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from interlock.errors import UsageError
from interlock.late_pattern import late

_DURATION = late(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?\Z")


DURATION_S_MAX = 36_500 * 86_400.0
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0)


PROTECTIONS = ("auto", "always", "never")
"""See `Settings.protect_terraform`."""


DEFAULT_LEASE_S = 6.0
"""How long a holder may be silent before recovery may begin. Short, because silence alone never breaks a lock."""


DEFAULT_HEARTBEAT_S = 1.5
"""How often a holder renews: four chances within a lease."""


class Secret(Struct, frozen=True, kw_only=True):
    """A secret that no repr, log or message shows."""

    value: str

    def __repr__(self) -> str:
        """Hide the value."""
        return "Secret()"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Hide the value."""
        return []

    def __str__(self) -> str:
        """Hide the value."""
        return "(secret)"


class StateSettings(Struct, frozen=True, kw_only=True):
    """What interlock.yaml says of one state.

    Attributes:
        directory: The root module, relative to the file; None when only the name is listed.
        protected: Destructive plans need `--allow-destroy`.
        max_deletes: Most deletions that one apply may make; None for no limit.
        environment: The CI environment (approvals, secrets) of this state; None for none.
        depends_on: Names of states whose roots come before this one's.
        reads: Paths and patterns of further files that its plan reads, relative to the file.
    """

    directory: Path | None = None
    protected: bool = False
    max_deletes: int | None = None
    environment: str | None = None
    depends_on: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that the person, the machine and the repository decide.

    Attributes:
        home: Where embedded mode keeps its database, runs and caches.
        server: URL of an Interlock server; None for embedded mode.
        token: Token for that server.
        terraform: Path or name of the binary to use; None to search.
        wait_s: Longest wait for a turn; None for no bound.
        lease_s: See `DEFAULT_LEASE_S`.
        heartbeat_s: See `DEFAULT_HEARTBEAT_S`.
        max_deletes: Most deletions of one apply where the state does not say; None for no limit.
        protect_terraform: `auto`, `always` or `never`; see `interlock.run.protection`.
        states: By state name.
        policies: Those of the files, each as plain values with its layer; see `interlock.policy.reading`.
        sections: The other sections of interlock.yaml as plain values, read by the room they belong to.
        path: The interlock.yaml that was read, the repository's or a named one; None when there is none.
        origins: Setting name to `flag`, `environment`, the path of a file, or `default`.
    """

    home: Path
    server: str | None = None
    token: Secret | None = None
    terraform: str | None = None
    wait_s: float | None = None
    lease_s: float = DEFAULT_LEASE_S
    heartbeat_s: float = DEFAULT_HEARTBEAT_S
    max_deletes: int | None = None
    protect_terraform: str = "auto"
    states: Mapping[str, StateSettings] = msgspec.field(default_factory=dict)
    policies: tuple[Mapping[str, Any], ...] = ()
    sections: Mapping[str, Any] = msgspec.field(default_factory=dict)
    path: Path | None = None
    origins: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def database(self) -> Path:
        """The SQLite file of embedded mode."""
        return self.home / "interlock.db"

    @property
    def runs(self) -> Path:
        """The folder that holds one folder a run."""
        return self.home / "runs"

    def state_for(self, directory: Path) -> str | None:
        """Return the name that interlock.yaml gives to the root module `directory`; None when it names none."""
        wanted = directory.resolve()
        for name, state in self.states.items():
            if state.directory is not None and state.directory.resolve() == wanted:
                return name
        return None


def parse_duration(text: str) -> float:
    """Read `90s`, `10m`, `1h30m`, `2d` or plain seconds; return seconds.

    Raises:
        UsageError: The text is not a duration, or one of over a hundred years.
    """
    stripped = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return _bounded(text, float(stripped))
    match = _DURATION.match(stripped)
    if match is None or not stripped:
        raise UsageError(f"{text!r} is not a duration", fix="write it like 90s, 10m or 1h30m")
    return _bounded(text, sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS_S, strict=True) if part))


def _bounded(text: str, duration_s: float) -> float:
    """Refuse what no calendar can add to an instant, or take from one."""
    if duration_s > DURATION_S_MAX:
        raise UsageError(f"{text[:40]!r} is too long", why="a duration has 36500 days at most", fix="write it like 90d")
    return duration_s
