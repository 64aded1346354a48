"""One policy, and how those that hold for a state are joined. Pure.

Whoever says something, it counts: the strictest word of all holds. So no policy loosens another one, and the
repository, which a branch may change, can only tighten what the server and the operator say.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from interlock.globs import EVERY_STATE, matches
from interlock.policy.windows import Freeze, Window


class Layer(StrEnum):
    """Who says a policy; the first is the strongest."""

    SERVER = "server"
    """Whoever administers the home: kept in its store, the same for everybody who works in it."""
    OPERATOR = "operator"
    """Whoever runs Interlock on a machine: their own file."""
    REPOSITORY = "repository"
    """interlock.yaml beside the configuration."""


class Check(Struct, frozen=True, kw_only=True):
    """A question in CEL about a plan; see `summary.PlanSummary`.

    Attributes:
        name: By which results name it.
        expression: True lets the plan pass.
        message: What a person reads when it does not.
    """

    name: str
    expression: str
    message: str = ""


class Program(Struct, frozen=True, kw_only=True):
    """A program of the user's that judges the plan's JSON, as `terraform show -json` prints it.

    Attributes:
        name: By which results name it.
        tool: `conftest` or `opa`; found on PATH.
        policies: Folder or file with its rules; absolute.
        query: For `opa`: what is asked; the plan passes when the answer is empty.
    """

    name: str
    tool: str
    policies: str
    query: str = "data.terraform.deny"


class Policy(Struct, frozen=True, kw_only=True):
    """What one entry of `policies` says. What it leaves open, others may say.

    Attributes:
        name: By which results, journal and audit name it.
        states: Glob over the names of states; see `interlock.globs.matches`.
        layer: Who says it.
        windows: When changes may begin; empty for always.
        freezes: When they may not.
        max_deletes: Most objects that one apply may delete or replace.
        protected_types: Patterns of resource types that no plan may delete or replace.
        protected_addresses: Patterns of addresses, likewise.
        approvals: How many persons must approve an apply.
        own_approval: Whether the one who ordered it counts among them.
        approval_s: Seconds for which a kept plan may be approved and applied.
        wait_s: Longest wait in the queue.
        api_budget_share: Most that all runs of a state together take of each API budget, above 0 and up to 1.
        supersede_previews: A newer preview of the same person or job sends older ones home that still wait.
        two_persons: Force-unlock and restore need another person's approval.
        checks: In CEL.
        programs: Of the user's.
    """

    name: str
    states: str = EVERY_STATE
    layer: Layer = Layer.REPOSITORY
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    max_deletes: int | None = None
    protected_types: tuple[str, ...] = ()
    protected_addresses: tuple[str, ...] = ()
    approvals: int = 0
    own_approval: bool = False
    approval_s: float | None = None
    wait_s: float | None = None
    api_budget_share: float | None = None
    supersede_previews: bool = False
    two_persons: bool = False
    checks: tuple[Check, ...] = ()
    programs: tuple[Program, ...] = ()


APPROVAL_S = 7 * 86_400.0
"""How long a kept plan may be approved and applied where no policy says it: what is older nobody remembers."""


class Policies(Struct, frozen=True, kw_only=True):
    """What holds for one state. Made by `join`.

    Attributes:
        each: The policies that name the state, the strongest layer first.
    """

    each: tuple[Policy, ...] = ()

    @property
    def approvals(self) -> int:
        """How many persons must approve."""
        return max((one.approvals for one in self.each), default=0)

    @property
    def own_approval(self) -> bool:
        """Whether the one who ordered a run may be among those who approve it. One that asks for nobody says nothing.

        A policy that asks for approvals means other persons, unless it says otherwise.
        """
        asking = [one for one in self.each if one.approvals]
        return all(one.own_approval for one in asking)

    @property
    def approval_s(self) -> float:
        """Seconds for which a kept plan may be approved and applied."""
        return min((one.approval_s for one in self.each if one.approval_s is not None), default=APPROVAL_S)

    @property
    def wait_s(self) -> float | None:
        """Longest wait in the queue; None where no policy says one."""
        return min((one.wait_s for one in self.each if one.wait_s is not None), default=None)

    @property
    def api_budget_share(self) -> Policy | None:
        """The policy that leaves the runs of the state least of each API budget; None where none says a share."""
        saying = (one for one in self.each if one.api_budget_share is not None)
        return min(saying, key=lambda one: one.api_budget_share or 0.0, default=None)

    @property
    def supersede_previews(self) -> bool:
        """Whether newer previews send older ones home."""
        return any(one.supersede_previews for one in self.each)

    @property
    def two_persons(self) -> bool:
        """Whether force-unlock and restore need another person."""
        return any(one.two_persons for one in self.each)

    @property
    def asks_for(self) -> str:
        """Which policy asks for most approvals; empty when none does."""
        asking = max(self.each, key=lambda one: one.approvals, default=None)
        return asking.name if asking is not None and asking.approvals else ""


NO_POLICIES = Policies()

_ORDER = {layer: place for place, layer in enumerate(Layer)}


def join(policies: Iterable[Policy], state: str) -> Policies:
    """Return what holds for a state.

    Args:
        policies: All that anybody says.
        state: Its name.
    """
    named = (one for one in policies if matches(one.states, state))
    return Policies(each=tuple(sorted(named, key=lambda one: _ORDER[one.layer])))
