"""What the runs of a state may take of the API budgets, where a policy says a share: a budget of its own for each.

The part of a budget follows it: when its limit is learned, falls or grows, so does the part. It is a cap, also while
nobody else calls, and at least one call a window, or nobody of the state would ever go. Parts are kept in the ledgers
like the budgets themselves, under names of their own, so that all runs of one state hold to their share together.

Changes in place, like the budgets; one admission owns it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from interlock.amounts import percent
from interlock.gateway.budget import Budget, BudgetMaker, Place, plain_budget
from interlock.gateway.rules import TOKEN

PARTS: Final = "share:"
"""Begins the names of parts: `share:<state>:<budget>`. No budget has such a name, and none has a colon."""
_ROUNDING = 1e-9  # 0.29 of 100 is 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What policies allow all runs of one state together.

    Attributes:
        share: Of each budget; above 0 and up to 1.
        policy: Which policy says so.
    """

    share: float
    policy: str = ""

    @property
    def text(self) -> str:
        """For people."""
        said = f" (policy {self.policy})" if self.policy else ""
        return f"this state may use {percent(self.share)} of the API budget{said}"


def part_of(allowed: int | None, share: float) -> int | None:
    """Return how many calls of a window are a share of its limit: whole ones, and at least one."""
    return None if allowed is None else max(math.floor(allowed * share + _ROUNDING), 1)


def part_name(state: str, budget: str) -> str:
    """Return the name of a state's part of a budget."""
    return f"{PARTS}{state}:{budget}"


def read_part_name(name: str) -> tuple[str, str] | None:
    """Return the state and the budget of a part; None for the name of a whole budget."""
    if not name.startswith(PARTS):
        return None
    state, _, budget = name.removeprefix(PARTS).rpartition(":")
    return state, budget


@dataclass(slots=True)
class _State:
    allotment: Allotment
    parts: dict[str, Budget] = field(default_factory=dict)


Taken = tuple[tuple[Budget, Place], ...]
"""What one request occupies of its state's parts."""


class Allotments:
    """The states with a share, and their parts of the budgets.

    Args:
        make_budget: Makes a part that several processes may share.
        forget_budget: Told of the name of a part that is used no more.
    """

    def __init__(self, make_budget: BudgetMaker, forget_budget: Callable[[str], None]) -> None:
        self._make_budget = make_budget
        self._forget_budget = forget_budget
        self._states: dict[str, _State] = {}
        self._waiting: Counter[str] = Counter()

    def allot(self, state: str, allotment: Allotment | None, now_s: float) -> None:
        """Let the runs of a state take so much from now on; None for all that there is."""
        self._tidy(now_s)
        found = self._states.get(state)
        if allotment is None:
            self._states.pop(state, None)
            self._forget(found)
        elif found is None:
            self._states[state] = _State(allotment)
        else:
            found.allotment = allotment

    def of(self, state: str) -> Allotment | None:
        """Return what a state is allotted; None when nothing caps it."""
        found = self._states.get(state)
        return None if found is None else found.allotment

    def waits(self, state: str, count: int) -> None:
        """So many more requests of a state wait, or fewer."""
        self._waiting[state] += count
        if not self._waiting[state]:
            del self._waiting[state]

    def waiting(self) -> list[str]:
        """Return the states with a share of which somebody waits."""
        return [state for state in self._waiting if state in self._states]

    def wait_s(self, state: str, wholes: Iterable[tuple[Budget, int]], now_s: float) -> float:
        """Return the seconds until a state's parts of these budgets have room for these costs; 0.0 for at once.

        The first part without room answers: of the others nothing is drawn from a ledger that could not be used.
        """
        found = self._states.get(state)
        if found is None:
            return 0.0
        for whole, cost in wholes:
            wait_s = self._part(state, found, whole, now_s).wait_s(cost, now_s)
            if wait_s > 0.0:
                return wait_s
        return 0.0

    def take(self, state: str, wholes: Iterable[tuple[Budget, int]], now_s: float) -> Taken:
        """Occupy places in a state's parts; the caller has asked `wait_s` at the same instant."""
        found = self._states.get(state)
        if found is None:
            return ()
        parts = [(self._part(state, found, whole, now_s), cost) for whole, cost in wholes]
        return tuple((part, part.take(cost, now_s)) for part, cost in parts)

    def rate_per_s(self, state: str, wholes: Iterable[tuple[Budget, int]]) -> float:
        """Return what a state's parts give in the long run, in requests of these costs; infinite without a share."""
        found = self._states.get(state)
        if found is None:
            return math.inf
        rates = (_rate_per_s(whole, found.allotment.share) / cost for whole, cost in wholes)
        return min(rates, default=math.inf)

    def useful(self, name: str, everybody: int, within_s: float, now_s: float) -> int:
        """Return how many of those who wait could use a slice of a budget before it is over.

        Who has a share can use no more than that gives. Were more drawn for it, the rest would be lost, and a run that
        never gets all it asks for would keep the others waiting, for it always got less than they (see `ledger.draw`).

        Args:
            name: Of the budget, or of a part.
            everybody: How many wait.
            within_s: How long the slice may be used.
            now_s: Monotonic seconds.
        """
        part = read_part_name(name)
        if part is not None:
            return self._waiting[part[0]]
        held = 0.0
        for state in self.waiting():
            gives = _gives(self._states[state].parts, name, within_s, now_s)
            held += max(self._waiting[state] - gives, 0)
        return everybody - int(held)

    def _part(self, state: str, found: _State, whole: Budget, now_s: float) -> Budget:
        """Return a state's part of a budget, as large as it is to be now."""
        allowed = part_of(whole.allowed, found.allotment.share)
        part = found.parts.get(whole.name)
        if part is None:
            name = part_name(state, whole.name)
            make = plain_budget if _is_of_token(whole.name) else self._make_budget  # nobody else has the token
            part = found.parts[whole.name] = make(name, allowed, whole.window_s, None, now_s)
        elif (part.allowed, part.window_s) != (allowed, whole.window_s):
            part.follow(allowed, whole.window_s, now_s)
        return part

    def _tidy(self, now_s: float) -> None:
        """Forget states whose runs called nothing for as long as it would count: at a server they come and go."""
        for state, found in list(self._states.items()):
            if state not in self._waiting and not any(part.occupied(now_s) for part in found.parts.values()):
                self._forget(found)
                found.parts = {}

    def _forget(self, found: _State | None) -> None:
        for part in () if found is None else found.parts.values():
            self._forget_budget(part.name)


def _is_of_token(name: str) -> bool:
    return name.startswith(f"{TOKEN}-")


def _gives(parts: Mapping[str, Budget], name: str, within_s: float, now_s: float) -> float:
    """Return how many calls a state's parts of a budget, and of the tokens, give within some time."""
    of_tokens = [part for whole, part in parts.items() if _is_of_token(whole)]
    most = [[parts[name]] if name in parts else [], of_tokens]
    return min((sum(_gives_one(each, within_s, now_s) for each in some) for some in most if some), default=math.inf)


def _gives_one(part: Budget, within_s: float, now_s: float) -> float:
    return math.inf if part.allowed is None else math.ceil(part.room(now_s) + part.rate_per_s() * within_s)


def _rate_per_s(whole: Budget, share: float) -> float:
    allowed = part_of(whole.allowed, share)
    return math.inf if allowed is None else allowed / whole.window_s
