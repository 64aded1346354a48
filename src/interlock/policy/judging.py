"""What policies say of a plan: one result for each rule. Pure; checks in CEL and programs are asked by hands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from interlock.amounts import amount
from interlock.errors import PolicyGate, command
from interlock.policy.policy import Layer, Policies, Policy
from interlock.policy.summary import PlanSummary

_NAMED = 5  # addresses named in a refusal; the rest is counted
ADDRESSES_KEPT = 100  # in a result


class Result(Struct, frozen=True, kw_only=True):
    """What one rule of one policy says of a plan.

    Attributes:
        policy: The policy's name.
        rule: `max_deletes`, `protected` or `check:NAME`.
        layer: Who says it.
        passed: Whether the plan may go on.
        what: What is wrong, for people; empty when it passed.
        addresses: The addresses that it is about, at most `ADDRESSES_KEPT`.
    """

    policy: str
    rule: str
    layer: str
    passed: bool
    what: str = ""
    addresses: tuple[str, ...] = ()


def judge(policies: Policies, plan: PlanSummary, *, agreed: frozenset[str] = frozenset()) -> tuple[Result, ...]:
    """Return what the built-in rules say.

    Args:
        policies: Those of the state.
        plan: What it does.
        agreed: Deletions to which reviewers agreed in the change itself (ADR 403). They count against what the
            repository says; what server and operator say, a change to the repository cannot allow.
    """
    return tuple(result for one in policies.each for result in _judged(one, plan, agreed))


def _judged(policy: Policy, plan: PlanSummary, agreed: frozenset[str]) -> Iterator[Result]:
    counted = agreed if policy.layer is Layer.REPOSITORY else frozenset()
    doomed = tuple(address for address in plan.destroyed if address not in counted)
    if policy.max_deletes is not None:
        yield _max_deletes(policy, policy.max_deletes, doomed)
    if policy.protected_types or policy.protected_addresses:
        yield _protected(policy, plan, doomed)


def _max_deletes(policy: Policy, limit: int, doomed: tuple[str, ...]) -> Result:
    if len(doomed) <= limit:
        return _result(policy, "max_deletes", passed=True)
    what = f"the plan deletes {amount(len(doomed), 'resource')}, more than the {limit} allowed"
    return _result(policy, "max_deletes", passed=False, what=what, addresses=doomed)


def _protected(policy: Policy, plan: PlanSummary, doomed: tuple[str, ...]) -> Result:
    wanted = set(doomed)
    found = tuple(
        one.address
        for one in plan.resources
        if one.address in wanted
        and (_fits(one.type, policy.protected_types) or _fits(one.address, policy.protected_addresses))
    )
    if not found:
        return _result(policy, "protected", passed=True)
    what = f"the plan deletes {amount(len(found), 'protected resource')}"
    return _result(policy, "protected", passed=False, what=what, addresses=found)


def _fits(text: str, patterns: Sequence[str]) -> bool:
    """Whether a text is one of the patterns; an index in brackets stands for itself, not for a set of characters."""
    return any(fnmatchcase(text, pattern.replace("[", "[[]")) for pattern in patterns)


def _result(policy: Policy, rule: str, *, passed: bool, what: str = "", addresses: tuple[str, ...] = ()) -> Result:
    return Result(
        policy=policy.name,
        rule=rule,
        layer=policy.layer.value,
        passed=passed,
        what=what,
        addresses=addresses[:ADDRESSES_KEPT],
    )


def refused(results: Sequence[Result]) -> tuple[Result, ...]:
    """Return the results that do not let a plan go on."""
    return tuple(result for result in results if not result.passed)


def refusal(results: Sequence[Result], *, state: str, fix: str = "") -> PolicyGate | None:
    """Return the failure of a run whose plan is refused; None when it is not.

    Args:
        results: Of all rules.
        state: The state's name.
        fix: The next command where the caller knows a better one than to look at the policies.
    """
    wrong = refused(results)
    if not wrong:
        return None
    first, others = wrong[0], wrong[1:]
    more = f"; {amount(len(others), 'more rule')} of policies: {', '.join(map(_spelled, others))}" if others else ""
    return PolicyGate(
        f"policy {first.policy} refuses the plan: {first.what}",
        why=f"rule {first.rule} ({first.layer})" + (f": {_listed(first.addresses)}" if first.addresses else "") + more,
        fix=fix or command("policies", "show", state),
        rule=first.rule,
        policy=first.policy,
        addresses=list(first.addresses),
    )


def _spelled(result: Result) -> str:
    return f"{result.policy} {result.rule}"


def _listed(addresses: Sequence[str]) -> str:
    rest = len(addresses) - _NAMED
    return ", ".join(addresses[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
