"""What a state is called and where it is, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from interlock.errors import UsageError
from interlock.late_pattern import late

if TYPE_CHECKING:
    from interlock.existing.interface import Found

OWN = "interlock:"
"""Begins the address of a state in Interlock's own backend."""

_RUN = late(r"[0-9a-hjkmnp-tv-z]{16}\Z")
_LOCK = late(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The state is in Interlock's own backend.

    Attributes:
        in_place: The configuration declares an empty `backend "http" {}` itself.
        former: Names under which the same root module may have had its state before.
        workspace: Terraform's workspace, which is in the state's name; `default` where nobody chose one.
    """

    in_place: bool = False
    former: tuple[str, ...] = ()
    workspace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """The state stays in the backend where it is.

    Attributes:
        found: That backend.
        refusal: Why runs cannot work on it, with the way out; None when they can.
        flags: `-backend-config` flags with which it was found.
    """

    found: Found
    refusal: UsageError | None = field(default=None, compare=False)
    flags: tuple[str, ...] = ()


Where: TypeAlias = Own | Existing


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRef:
    """One state.

    Attributes:
        queue: The name under which it queues; every command understands it.
        address: What names it among all states: `interlock:NAME`, `s3://bucket/key`.
        where: Where it is.
        directory: Its root module, absolute; None when nobody knows it.
    """

    queue: str
    address: str
    where: Where
    directory: Path | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is in Interlock's own backend."""
        return isinstance(self.where, Own)

    @property
    def found(self) -> Found:
        """The backend of a state that stays elsewhere; only for one that does."""
        assert isinstance(self.where, Existing), f"{self.queue} is in Interlock's own backend"
        return self.where.found

    @property
    def store(self) -> str:
        """Which of several stores that may each have a state at this address; see `interlock.existing.opening`."""
        if not isinstance(self.where, Existing):
            return ""
        from interlock.existing.opening import store_of

        return store_of(self.where.found)

    @property
    def root_module(self) -> Path:
        """The folder from which a state elsewhere was found; only for one that stays there."""
        assert self.directory is not None, f"nobody knows the root module of {self.queue}"
        return self.directory

    def for_runs(self) -> StateRef:
        """Return this state.

        Raises:
            UsageError: Runs cannot work on it.
        """
        if isinstance(self.where, Existing) and self.where.refusal is not None:
            raise self.where.refusal
        return self


def own_address(state: str) -> str:
    """Return the address of a state in Interlock's own backend."""
    return f"{OWN}{state}"


def is_run_id(text: str) -> bool:
    """Say whether a text is spelled like the id of a run (`interlock.ids`)."""
    return _RUN.match(text) is not None and text[0].isdigit()


def is_lock_id(text: str) -> bool:
    """Say whether a text is spelled like the id that Terraform gives its locks: a UUID in lower case."""
    return _LOCK.match(text) is not None
