"""ci-step-without-credentials: the plan cannot log in, the apply can."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interlock.lint.deployments import Use, credentials, distinct, uses_of
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


@dataclass(frozen=True, slots=True)
class _Family:
    """The variables of one service, and the sets of them of which each alone is enough to log in."""

    title: str
    enough: tuple[frozenset[str], ...]

    def reaches(self, names: Iterable[str]) -> bool:
        present = set(names)
        return any(needed <= present for needed in self.enough)

    def missing(self, names: Iterable[str], *, wanted: Iterable[str]) -> list[str]:
        """Return what `names` lacks of the way to log in that `wanted` has."""
        whole = set(wanted)
        return sorted(next((needed for needed in self.enough if needed <= whole), frozenset()) - set(names))


_FAMILIES = (
    _Family(
        "Genesys Cloud",
        (
            frozenset({"GENESYSCLOUD_OAUTHCLIENT_ID", "GENESYSCLOUD_OAUTHCLIENT_SECRET"}),
            frozenset({"GENESYSCLOUD_ACCESS_TOKEN"}),
        ),
    ),
    _Family(
        "AWS",
        (
            frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}),
            frozenset({"AWS_PROFILE"}),
            frozenset({"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"}),
        ),
    ),
    _Family("Azure", (frozenset({"ARM_CLIENT_ID", "ARM_CLIENT_SECRET"}), frozenset({"ARM_CLIENT_ID", "ARM_USE_OIDC"}))),
    _Family("Google Cloud", (frozenset({"GOOGLE_CREDENTIALS"}), frozenset({"GOOGLE_APPLICATION_CREDENTIALS"}))),
)


_SECRET = re.compile(r"\$\{\{\s*secrets\.")
_SINGLE = re.compile(r"TF_VAR_|TF_TOKEN_|TF_HTTP_")  # each of these is needed by itself
_SERVICES = ("GENESYS", "AWS_", "ARM_", "GOOGLE_")


@dataclass(frozen=True, slots=True)
class _Able:
    """An apply that can log in: what it sees, and which of that is a secret."""

    use: Use
    names: frozenset[str]
    secrets: tuple[str, ...]


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow in sources.workflows:
        found = [use for job in workflow.jobs for use in uses_of(workflow, job) if not use.operation.by_task]
        applies = _applies(use for use in found if use.operation.applies)
        for plan in (use for use in found if use.operation.plans):
            yield from _compared(plan, applies.get(plan.place, []))


def _applies(uses: Iterable[Use]) -> dict[tuple[str, str], list[_Able]]:
    """Return the applies by place; of several that see the same, the first: a file may have hundreds."""
    found: dict[tuple[str, str], dict[tuple[frozenset[str], tuple[str, ...]], _Able]] = {}
    for use in uses:
        names = credentials(use.job, use.step, use.operation) or frozenset()
        secrets = tuple(name for name, value in use.operation.exports.items() if _SECRET.search(value))
        found.setdefault(use.place, {}).setdefault((names, secrets), _Able(use, names, secrets))
    return {place: list(kinds.values()) for place, kinds in found.items()}


def _compared(plan: Use, applies: list[_Able]) -> Iterator[Finding]:
    seen = credentials(plan.job, plan.step, plan.operation)
    for apply in applies if seen is not None else ():
        missing = _missing(seen or frozenset(), apply)
        if missing:
            names = ", ".join(missing)
            yield RULE.finding(
                plan.step.span,
                f"the plan cannot log in: {names} {'is' if len(missing) == 1 else 'are'} set for the apply in line "
                f"{apply.use.operation.span.line} and not here",
                fix=f"set {names} for the whole job, or for this step too",
            )
            return


def _missing(seen: frozenset[str], apply: _Able) -> list[str]:
    lacking: list[str] = []
    for family in _FAMILIES:
        if family.reaches(apply.names) and not family.reaches(seen):
            lacking += family.missing(seen, wanted=apply.names)
    lacking += (name for name in apply.secrets if name not in lacking and _is_absent(name, seen))
    return lacking


def _is_absent(name: str, seen: frozenset[str]) -> bool:
    """Say whether a secret is missing, given that there may be another way to log in to the same service."""
    if _SINGLE.match(name):
        return name not in seen
    service = next((prefix for prefix in _SERVICES if name.startswith(prefix)), None)
    return service is not None and not any(other.startswith(service) and not other.endswith("REGION") for other in seen)


RULE = Rule(
    name="ci-step-without-credentials",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="A plan step lacks the credentials that the apply step of the same directory has.",
    why="A plan reads every object through the provider and the state through the backend, so it needs what the apply "
    "needs. It fails with an authentication error, or worse, plans with somebody else's rights.",
    fix="Set the variables for the whole job.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n      - run: terraform apply plan.bin\n        env:\n"
        "          GENESYSCLOUD_OAUTHCLIENT_ID: ${{ secrets.ID }}\n"
        "          GENESYSCLOUD_OAUTHCLIENT_SECRET: ${{ secrets.SECRET }}\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    env:\n"
        "      GENESYSCLOUD_OAUTHCLIENT_ID: ${{ secrets.ID }}\n"
        "      GENESYSCLOUD_OAUTHCLIENT_SECRET: ${{ secrets.SECRET }}\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)
