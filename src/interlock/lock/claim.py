"""What part of a state a run claims, and which claims conflict.

A claim is the whole state, or two sets of resource addresses: those the run writes and those it reads.
Two claims conflict when one writes what the other writes or reads (docs/facts/terraform-merging.md#merge-3:
a write-read pair merges without a textual conflict and still leaves the reader outdated).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from interlock.address import parse_address
from interlock.errors import UsageError
from interlock.late_pattern import late

ADDRESSES_MAX = 20_000
"""Addresses in one claim. More than any state we know; a larger run claims the whole state instead."""

_MEMO = 65_536  # parsed addresses remembered: a pure function's answers, so sharing them changes nothing
_STEP_KEY = late(r'\[(?:\d+|"(?:[^"\\]|\\.)*")\]')


class Claim(Struct, frozen=True, kw_only=True):
    """The part of a state that a run needs for itself.

    Attributes:
        whole: True claims everything; the sets are then empty.
        writes: Addresses that the run may change, spelled as Terraform does.
        reads: Addresses that must not change while the run holds.

    Raises:
        UsageError: More than `ADDRESSES_MAX` addresses, an unreadable address, or `whole` together with addresses.
    """

    whole: bool = False
    writes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.whole and not self.writes and not self.reads:
            return
        if self.whole or len(self.writes) + len(self.reads) > ADDRESSES_MAX:
            raise UsageError(
                "a claim cannot be read",
                why="it names addresses beside the whole state" if self.whole else f"over {ADDRESSES_MAX} addresses",
                fix="claim the whole state",
            )
        for address in self.writes | self.reads:
            _check_address(address)


WHOLE_STATE = Claim(whole=True)


def claim_of(*, writes: Iterable[str] = (), reads: Iterable[str] = ()) -> Claim:
    """Return the claim on these addresses. See `Claim` for what is refused."""
    return Claim(writes=frozenset(writes), reads=frozenset(reads))


def conflicts(one: Claim, other: Claim) -> bool:
    """Say whether two runs with these claims must not hold at the same time. Symmetric."""
    if one.whole or other.whole:
        return True
    return _overlap(one.writes, other.writes) or _overlap(one.writes, other.reads) or _overlap(one.reads, other.writes)


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    if not one or not other:
        return False
    if not one.isdisjoint(other):
        return True
    by_resource: dict[str, list[tuple[str | None, ...]]] = {}
    for address in one:
        resource, keys = _spell_apart(address)
        by_resource.setdefault(resource, []).append(keys)
    return any(_meets(by_resource, address) for address in other)


def _meets(by_resource: dict[str, list[tuple[str | None, ...]]], address: str) -> bool:
    resource, keys = _spell_apart(address)
    return any(_keys_meet(keys, others) for others in by_resource.get(resource, ()))


def _keys_meet(keys: tuple[str | None, ...], others: tuple[str | None, ...]) -> bool:
    # A step without a key may mean every instance, so only two keys that are both given and differ keep runs apart.
    return all(a is None or b is None or a == b for a, b in zip(keys, others, strict=True))


@lru_cache(maxsize=_MEMO)
def _spell_apart(address: str) -> tuple[str, tuple[str | None, ...]]:
    """Return the address in the configuration, and the key of each module step and of the resource."""
    parsed = parse_address(address)
    steps = [*_module_steps(parsed.module), address[len(parsed.module) :]]
    keys = [_STEP_KEY.search(step) for step in steps]
    return parsed.config(), tuple(key.group() if key else None for key in keys)


def _module_steps(module: str) -> list[str]:
    """Split `module.a["x"].module.b` into its steps; a quoted key may contain anything, so keys are skipped whole."""
    return re.findall(r'module\.[^.\[]+(?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?', module)


def _check_address(address: str) -> None:
    try:
        _spell_apart(address)
    except ValueError as error:
        raise UsageError("a claim cannot be read", why=str(error), fix="claim the whole state") from error
