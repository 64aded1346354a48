"""The shape of `policies`: in interlock.yaml, in the operator's file, and as a home's own policies are given.

Imported only when there is a file to read, as `document` is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from interlock.errors import UsageError
from interlock.globs import EVERY_STATE, check_glob
from interlock.settings.values import parse_duration

MAX_POLICIES = 200
_MAX = 100  # windows, freezes, patterns, checks and programs of one policy
_TEXT = 2000
_REASON = 500  # with the policy's name it is a line of the queue
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _duration(value: object) -> float:
    try:
        return parse_duration(str(value))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _glob(value: object) -> str:
    try:
        return check_glob(str(value))
    except UsageError as error:
        raise ValueError(f"{error.what}; {error.fix}") from None


def _clock(value: object) -> str:
    """Return `HH:MM`. YAML 1.1 reads 22:00 without quotes as the number 1320, in sixties."""
    text = f"{value // 60:02d}:{value % 60:02d}" if isinstance(value, int) and not isinstance(value, bool) else value
    hours, _, minutes = str(text).partition(":")
    told = len(str(text)) == len("00:00") and (hours + minutes).isdecimal() and str(text).isascii()
    if not told or int(minutes) >= 60 or int(hours) * 60 + int(minutes) > 24 * 60:  # noqa: PLR2004
        raise ValueError('a time of the day is written "08:00"; "24:00" is the end of the day')
    return str(text)


def _zone(value: object) -> str:
    """Return the name of a time zone that this machine knows."""
    try:
        ZoneInfo(str(value))
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        known = "such as Europe/Berlin; where the machine has no time zones, pip install 'interlock[policy]'"
        raise ValueError(f"{str(value)[:60]!r} is not a time zone of this machine, {known}") from None
    return str(value)


def _share(value: object) -> float:
    """Return a share. YAML reads 0.3 as a number; text, such as 30%, could as well mean 0.3 % or 30 calls."""
    told = isinstance(value, int | float) and not isinstance(value, bool)
    if not told or not 0 < value <= 1:  # type: ignore[operator]  # also refuses .nan
        raise ValueError("a share is a number above 0 and up to 1, such as 0.3 for 30 %")
    return float(value)  # type: ignore[arg-type]


def _day(value: object) -> str:
    text = str(value).strip().lower()[:3]
    if text not in DAYS:
        raise ValueError(f"a day is one of {', '.join(DAYS)}")
    return text


Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str | float)]
Clock = Annotated[str, BeforeValidator(_clock, json_schema_input_type=str)]
Zone = Annotated[str, BeforeValidator(_zone, json_schema_input_type=str)]
Glob = Annotated[str, BeforeValidator(_glob, json_schema_input_type=str)]
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=float), Field(gt=0, le=1)]
Day = Annotated[str, BeforeValidator(_day, json_schema_input_type=str)]
Patterns = Annotated[list[Annotated[str, Field(min_length=1, max_length=300)]], Field(max_length=_MAX)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class WindowSection(_Section):
    """A time of the week in which changes may begin."""

    days: list[Day] = Field(
        default=list(DAYS), min_length=1, description="Days on which it begins: mon, tue and so on."
    )
    begin: Clock = Field(default="00:00", alias="from", description='From when on, such as "08:00".')
    end: Clock = Field(
        default="24:00", alias="to", description="Until when; what is not after `from` is on the next day."
    )
    zone: Zone = Field(default="UTC", description="Time zone, such as Europe/Berlin; it knows summer time.")

    def plain(self) -> dict[str, object]:
        """Return it as the policy room reads it."""
        return {"days": list(dict.fromkeys(self.days)), "begin": self.begin, "end": self.end, "zone": self.zone}


_YEARS = range(1970, 9001)
"""Of a freeze; at the end of the calendar no time zone can be added, and no next window be looked for."""


class FreezeSection(_Section):
    """A time in which no change begins."""

    reason: str = Field(min_length=1, max_length=_REASON, description="Why; whoever waits reads it.")
    begin: date | datetime | None = Field(
        default=None, alias="from", description="From when on, a date or a date with a time; by default from now on."
    )
    end: date | datetime | None = Field(
        default=None,
        alias="to",
        description="Until when; by default until the entry is taken out. A date is its first minute.",
    )
    zone: Zone = Field(default="UTC", description="Time zone of the two.")

    @model_validator(mode="after")
    def _in_order(self) -> FreezeSection:
        begin, end = self._instant(self.begin), self._instant(self.end)
        if begin is not None and end is not None and end <= begin:
            raise ValueError("`to` must be after `from`")
        return self

    def _instant(self, told: date | datetime | None) -> datetime | None:
        if told is None:
            return None
        at = told if isinstance(told, datetime) else datetime.combine(told, time())
        if at.year not in _YEARS:
            raise ValueError(
                "`from` and `to` are in the years 1970 to 9000; without `to` it lasts until it is taken out"
            )
        return (at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(self.zone))).astimezone(UTC)

    def plain(self) -> dict[str, object]:
        """Return it as the policy room reads it."""
        return {"reason": self.reason, "begin": self._instant(self.begin), "end": self._instant(self.end)}


class ProtectedSection(_Section):
    """What no plan may delete or replace."""

    types: Patterns = Field(default=[], description="Resource types; `*` and `?` are wildcards.")
    addresses: Patterns = Field(default=[], description="Addresses, such as `module.core.*`; likewise.")


class CheckSection(_Section):
    """A question about the plan, in CEL."""

    name: str = Field(min_length=1, max_length=60, description="Results name it.")
    expression: str = Field(
        min_length=1, max_length=_TEXT, description="True lets the plan pass; `plan` is the documented summary."
    )
    message: str = Field(default="", max_length=_TEXT, description="What a person reads when it does not.")


class ProgramSection(_Section):
    """A program that judges the plan's JSON."""

    name: str = Field(min_length=1, max_length=60, description="Results name it.")
    tool: Literal["conftest", "opa"] = Field(description="Which program, found on PATH.")
    policies: str = Field(min_length=1, description="Folder or file with its rules, relative to this file.")
    query: str = Field(
        default="data.terraform.deny", max_length=300, description="For opa: the plan passes when the answer is empty."
    )


class PolicySection(_Section):
    """What holds for some states. Where several say something, the strictest word holds."""

    name: str = Field(
        min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Results name it."
    )
    states: Glob = Field(
        default=EVERY_STATE, description="Names of states: `*` within a part, `**` across parts. All by default."
    )
    windows: list[WindowSection] = Field(
        default=[], max_length=_MAX, description="When changes may begin; outside of them runs wait in the queue."
    )
    freezes: list[FreezeSection] = Field(default=[], max_length=_MAX, description="When none begins.")
    max_deletes: int | None = Field(default=None, ge=0, description="Most objects that one apply deletes or replaces.")
    protected: ProtectedSection = Field(default=ProtectedSection(), description="What no plan may delete or replace.")
    approvals: int = Field(default=0, ge=0, le=10, description="How many persons must approve an apply.")
    own_approval: bool = Field(default=False, description="Whoever ordered the run counts among them.")
    approval_expires: Duration | None = Field(
        default=None, gt=0, description="How long a plan waits for approval and is good after it; 7d by default."
    )
    wait: Duration | None = Field(default=None, description="Longest wait in the queue.")
    api_budget_share: Share | None = Field(
        default=None,
        description="Most that all runs of a state together take of each API budget: 0.3 is 30 %, also while alone.",
    )
    supersede_previews: bool = Field(
        default=False, description="A newer preview sends older ones of the same branch home that still wait."
    )
    two_persons: bool = Field(default=False, description="Force-unlock and restore need another person.")
    checks: list[CheckSection] = Field(default=[], max_length=_MAX, description="Questions in CEL.")
    programs: list[ProgramSection] = Field(default=[], max_length=_MAX, description="conftest or opa.")

    def plain(self, base: Path) -> dict[str, object]:
        """Return it as the policy room reads it.

        Args:
            base: Paths are meant from here on.
        """
        return {
            "name": self.name,
            "states": self.states,
            "windows": [window.plain() for window in self.windows],
            "freezes": [freeze.plain() for freeze in self.freezes],
            "max_deletes": self.max_deletes,
            "protected_types": list(self.protected.types),
            "protected_addresses": list(self.protected.addresses),
            "approvals": self.approvals,
            "own_approval": self.own_approval,
            "approval_s": self.approval_expires,
            "wait_s": self.wait,
            "api_budget_share": self.api_budget_share,
            "supersede_previews": self.supersede_previews,
            "two_persons": self.two_persons,
            "checks": [check.model_dump() for check in self.checks],
            "programs": [{**each.model_dump(), "policies": str(base / each.policies)} for each in self.programs],
        }


class PoliciesDocument(_Section):
    """A home's own policies, as `interlock policies set FILE` reads them."""

    # needed: an empty file, as of a redirection that failed, must not take every policy away
    policies: list[PolicySection] = Field(max_length=MAX_POLICIES, description="See interlock.yaml.")


_PARTS: Mapping[str, type[BaseModel]] = {
    "windows": WindowSection,
    "freezes": FreezeSection,
    "protected": ProtectedSection,
    "checks": CheckSection,
    "programs": ProgramSection,
}


def policy_keys_at(location: Sequence[int | str]) -> list[str]:
    """Return the valid keys of the mapping at `location`, which begins with `policies`, for a suggestion."""
    part = next((_PARTS[word] for word in location if isinstance(word, str) and word in _PARTS), PolicySection)
    return [field.alias or name for name, field in part.model_fields.items()]
