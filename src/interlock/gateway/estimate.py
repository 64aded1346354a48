"""What a plan will cost in API calls, how long that takes at least, and the parallelism that fits the budget.

A lower bound, said as such: call counts are those of operations without optional parts (genesys/data/calls.json).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from interlock.amounts import amount
from interlock.errors import BudgetExhausted
from interlock.gateway.allotment import Allotment, part_of
from interlock.gateway.budget import BURST_SHARE
from interlock.gateway.rules import ORGANISATION, TOKEN
from interlock.genesys import RateLimit, calls_of
from interlock.genesys.provider import TOKEN_POOL_MAX
from interlock.genesys.resources import configure_calls, slowest_step_s

LATENCY_S = 0.25
"""What one call takes when nobody has measured: the API answers most reads faster and most writes slower."""
PARALLELISM_MAX = TOKEN_POOL_MAX
"""Each operation holds one client of the provider's pool, so more would only wait there."""
_ACTIONS = frozenset({"create", "read", "update", "delete", "replace"})
_ENDPOINT_LIMITS = {("genesyscloud_architect_ivr", "update"): "ivr-update"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """So many operations of one kind.

    Attributes:
        type: Resource type.
        action: `create`, `read`, `update`, `delete` or `replace`; anything else costs nothing.
        count: How many.
    """

    type: str
    action: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What to expect.

    Attributes:
        calls: API calls at least.
        by_type: Calls by resource type, the largest first; the provider's own start under `(provider)`.
        shortest_s: No way to be faster than this.
        limited_by: What sets the duration: `token`, `organisation`, an endpoint's limit, `latency` or a resource type.
        rate_per_s: Calls per second that the budget gives in the long run.
        parallelism: Recommended `-parallelism`.
        token_pool_size: Recommended `token_pool_size` of the provider.
        unknown_types: Resource types whose calls were guessed.
        explanation: The reasons, one sentence each.
    """

    calls: int
    by_type: tuple[tuple[str, int], ...]
    shortest_s: float
    limited_by: str
    rate_per_s: float
    parallelism: int
    token_pool_size: int
    unknown_types: tuple[str, ...]
    explanation: tuple[str, ...]


def estimate(
    planned: Iterable[Planned],
    *,
    limits: Iterable[RateLimit],
    tokens: int,
    latency_s: float = LATENCY_S,
    parallelism: int | None = None,
    allotment: Allotment | None = None,
) -> Estimate:
    """Return what a set of operations costs through a gateway.

    Args:
        planned: The changes of a plan; reads too when the run refreshes.
        limits: In force, from `rules.apply_overrides`.
        tokens: Upstream tokens of the gateway.
        latency_s: Of one call.
        parallelism: The user's own choice; None to recommend one.
        allotment: What policies allow the state; None for all that there is.
    """
    wanted = [each for each in planned if each.count > 0 and each.action in _ACTIONS]
    known = {limit.name: _allotted(limit, allotment) for limit in limits}
    by_type = _calls_by_type(wanted)
    calls = sum(by_type.values())
    rate_per_s = _rate(known, tokens)
    advised = parallelism or _parallelism(rate_per_s, latency_s, sum(each.count for each in wanted))
    waits = _waits(wanted, known, calls=calls, tokens=tokens, latency_s=latency_s, parallelism=advised)
    limited_by = max(waits, key=lambda name: waits[name])
    unknown = tuple(sorted({each.type for each in wanted if not calls_of(each.type).known}))
    return Estimate(
        calls=calls,
        by_type=tuple(by_type.most_common()),
        shortest_s=round(waits[limited_by], 1),
        limited_by=limited_by,
        rate_per_s=rate_per_s,
        parallelism=advised,
        token_pool_size=min(max(advised, 1), TOKEN_POOL_MAX),
        unknown_types=unknown,
        explanation=_explain(calls, tokens, rate_per_s, latency_s, advised, unknown, allotment),
    )


def check_deadline(estimated: Estimate, *, left_s: float, queued_calls: int = 0) -> None:
    """Refuse a run that cannot end in time, before it changes anything.

    Args:
        estimated: Of this run.
        left_s: Seconds until its deadline.
        queued_calls: Calls that others are entitled to first.

    Raises:
        BudgetExhausted: It cannot.
    """
    needs_s = estimated.shortest_s + queued_calls / max(estimated.rate_per_s, 1e-9)
    if needs_s > left_s:
        raise BudgetExhausted(
            f"the run needs at least {needs_s:.0f} s and its deadline is in {max(left_s, 0.0):.0f} s",
            why=f"{estimated.calls} API calls, limited by {estimated.limited_by}; nothing was changed",
            fix="give it a later --deadline, split the change, or raise the budget",
            calls=estimated.calls,
            shortest_s=needs_s,
        )


def _allotted(limit: RateLimit, allotment: Allotment | None) -> RateLimit:
    return limit if allotment is None else replace(limit, allowed=part_of(limit.allowed, allotment.share))


def _calls_by_type(wanted: Iterable[Planned]) -> Counter[str]:
    start = configure_calls()
    found: Counter[str] = Counter({"(provider)": start.api * start.walks_of_an_apply})
    for each in wanted:
        found[each.type] += _calls(each)
    return found


def _calls(each: Planned) -> int:
    row = calls_of(each.type)
    cost = {
        "create": row.create,
        "read": row.read,
        "update": row.update,
        "delete": row.delete,
        "replace": row.delete + row.create,
    }
    return cost[each.action] * each.count


def _rate(known: dict[str, RateLimit], tokens: int) -> float:
    rates = []
    for name, factor in ((TOKEN, tokens), ("user", 1), (ORGANISATION, 1)):
        limit = known.get(name)
        if limit is not None and limit.enforce and limit.allowed is not None:
            rates.append(factor * limit.allowed / limit.window_s)
    return min(rates, default=math.inf)


def _waits(
    wanted: list[Planned],
    known: dict[str, RateLimit],
    *,
    calls: int,
    tokens: int,
    latency_s: float,
    parallelism: int,
) -> dict[str, float]:
    """Return the shortest duration that each limit alone would allow."""
    waits = {"latency": calls * latency_s / parallelism}
    for name, factor in ((TOKEN, tokens), ("user", 1), (ORGANISATION, 1)):
        waits[name] = _paced_s(known.get(name), calls, factor)
    for each in wanted:
        limit = known.get(_ENDPOINT_LIMITS.get((each.type, each.action), ""))
        if limit is not None:
            waits[limit.name] = waits.get(limit.name, 0.0) + _paced_s(limit, each.count, 1)
        slow_s = slowest_step_s(each.type, each.action)
        if slow_s:
            rounds = math.ceil(each.count / parallelism)
            waits[each.type] = max(waits.get(each.type, 0.0), slow_s * rounds)
    return waits


def _paced_s(limit: RateLimit | None, calls: int, factor: int) -> float:
    if limit is None or not limit.enforce or limit.allowed is None:
        return 0.0
    burst = max(limit.allowed * BURST_SHARE, 1.0) * factor
    return max(calls - burst, 0.0) / (limit.allowed * factor / limit.window_s)


def _parallelism(rate_per_s: float, latency_s: float, operations: int) -> int:
    """As many operations as it takes to keep the budget busy; one operation makes its calls one after the other."""
    enough = PARALLELISM_MAX if math.isinf(rate_per_s) else math.ceil(rate_per_s * latency_s)
    return max(1, min(enough, PARALLELISM_MAX, max(operations, 1)))


def _explain(
    calls: int,
    tokens: int,
    rate_per_s: float,
    latency_s: float,
    parallelism: int,
    unknown: tuple[str, ...],
    allotment: Allotment | None,
) -> tuple[str, ...]:
    rate = "no limit is known" if math.isinf(rate_per_s) else f"{rate_per_s:.1f} calls a second"
    lines = [
        f"at least {amount(calls, 'API call')}; {amount(tokens, 'token gives', 'tokens give')} {rate}",
        f"{amount(parallelism, 'operation')} at once, at {latency_s:g} s a call, can use that; more would only wait",
        "token_pool_size equals the parallelism: each operation holds one client; logins here cost nothing",
    ]
    if allotment is not None:
        lines.append(allotment.text)
    if unknown:
        lines.append(f"call counts of {', '.join(unknown[:5])} are not known; two to three calls each were assumed")
    return tuple(lines)
