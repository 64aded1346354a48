"""A gate before the run refused it: an approval, a policy, a run that was discarded."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.diagnosis.message import Kind
from interlock.errors import PolicyGate

_BOTH: Final = frozenset({Kind.ERROR, Kind.NOTICE})

RULE: Final = Rule(
    category=Category.GATE_REFUSED,
    meaning="an approval or a policy is missing, so nothing was run",
    retry=Retry.SAFE,
    error=PolicyGate,
    signs=(
        Sign(
            words=words(
                r"(?:Pull|Merge) request must be (?:approved|mergeable)",
                r"branch must be rebased",
                r"must be (?:approved|mergeable) .{0,60}before running",
                r"All policies must pass",
            ),
            kinds=_BOTH,
            meaning="Atlantis runs nothing until the pull request meets its conditions",
            advice="get what is named (approval, green checks, rebase), then comment: atlantis apply",
        ),
        Sign(
            words=words(
                r"Run .{0,60}(?:discarded|cancell?ed)",
                r"Apply discarded",
                r"policy check .{0,40}(?:hard|soft) failed",
                r"hard failed",
                r"Policy set evaluation .{0,60}failed",
                r"\bmandatory .{0,60}failed",
                r"Task Stage .{0,60}failed",
                r"Run Task .{0,80}failed",
            ),
            kinds=_BOTH,
            meaning="a policy or a person in HCP Terraform refused the run",
            retry=Retry.NO,
            advice=(
                "read the run's page: change what the policy names, or have it overridden there; then make a new plan"
            ),
        ),
        Sign(
            words=words(
                r"Deployment (?:was )?rejected",
                r"not allowed to deploy to",
                r"is not allowed to (?:deploy|run) ",
                r"denied by environment protection rules",
                r"Approval .{0,60}(?:rejected|timed out|denied)",
                r"is disabled(?: for .{0,60})?\.? .{0,40}atlantis",
                r"[Aa]pply .{0,40}(?:is|are) disabled",
            ),
            kinds=_BOTH,
            meaning="the CI system did not let this run deploy",
            retry=Retry.NO,
            advice="have the deployment approved, or run it from the branch that may deploy",
        ),
    ),
    advice="get the approval that is named, then run again",
)
