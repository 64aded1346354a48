"""ci-parallelism: more operations at once than the API budget carries."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.operations import Flag
from interlock.lint import organisation
from interlock.lint.deployments import Use, distinct, uses
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_DEFAULT_POOL = 10  # token_pool_size of provider genesyscloud
_POOL = "GENESYSCLOUD_TOKEN_POOL_SIZE"
_TOKEN = "GENESYSCLOUD_ACCESS_TOKEN"  # noqa: S105 - the name of a variable
_REQUESTS_PER_TOKEN_MIN = 300  # per minute and token, Genesys Cloud platform API


def _pool(use: Use, sources: Sources) -> int | None:
    """Return the provider's token pool as far as the files tell; None when it is set to something unreadable.

    The configuration wins over the environment. Which root module a step runs in is not known here, so one pool that
    is set anywhere in the configuration leaves the question to provider-token-pool, which compares the two.
    """
    if any(
        "token_pool_size" in provider.block.body.attributes
        for module in sources.all_modules()
        for provider in organisation.providers(module)
    ):
        return None
    text = use.operation.exports.get(_POOL)
    if text is None:
        return _DEFAULT_POOL
    return int(text) if text.isdecimal() else None


def _is_genesys(use: Use) -> bool:
    return any(name.startswith("GENESYSCLOUD_") for name in use.operation.exports)


def _has_one_token(use: Use, sources: Sources) -> bool:
    """Say whether all operations share one fixed token, which no pool replaces."""
    if use.operation.exports.get(_TOKEN):
        return True
    given = [
        "access_token" in provider.block.body.attributes
        for module in sources.all_modules()
        for provider in organisation.providers(module)
    ]
    return bool(given) and all(given)


def _shared(flag: Flag) -> Finding | None:
    """Return what is wrong with many operations on one token: they may send as much as a single one."""
    wanted = int(flag.value or "0")
    if wanted <= _DEFAULT_POOL:
        return None
    return RULE.finding(
        flag.span,
        f"-parallelism={wanted} with one fixed token: all of them share its {_REQUESTS_PER_TOKEN_MIN} "
        f"requests a minute",
        fix=(
            f"leave -parallelism at {_DEFAULT_POOL} or less, or use oauthclient_id and _secret, which "
            f"make a pool of tokens"
        ),
    )


def _check(sources: Sources) -> Iterator[Finding]:
    for use in uses(sources):
        one = use.operation.flag("parallelism")
        if one is not None and (one.value or "").isdecimal() and _has_one_token(use, sources):
            found = _shared(one)
            if found is not None:
                yield found
            continue
        flag = use.operation.flag("parallelism")
        pool = _pool(use, sources)
        if flag is None or pool is None or not _is_genesys(use) or not (flag.value or "").isdecimal():
            continue
        wanted = int(flag.value or "0")
        if wanted > pool:
            yield RULE.finding(
                flag.span,
                f"-parallelism={wanted} on a pool of {pool} tokens: {wanted - pool} operations wait for a token, and "
                f"{pool * _REQUESTS_PER_TOKEN_MIN} requests a minute are the most that {pool} tokens may send",
                fix=f"use -parallelism={pool}, or raise {_POOL} (at most 50)",
            )


RULE = Rule(
    name="ci-parallelism",
    severity=Severity.WARNING,
    subject=Subject.CI,
    what="`-parallelism` is higher than the provider's token pool (10 unless GENESYSCLOUD_TOKEN_POOL_SIZE says "
    "otherwise) in a step with GENESYSCLOUD_ variables, or higher than 10 where all operations share one fixed token.",
    why="Each operation holds one token of the pool for its whole length, and each token may send 300 requests a "
    "minute. "
    "More operations than tokens only wait, time out after minutes and fill the queue with 429 answers.",
    fix="Keep -parallelism at or below the token pool.",
    bad={
        ".github/workflows/deploy.yml": "on: push\nenv: {GENESYSCLOUD_REGION: eu-central-1}\njobs:\n  deploy:\n"
        "    runs-on: ubuntu-24.04\n    steps:\n      - run: terraform apply -parallelism=40 plan.bin\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\nenv: {GENESYSCLOUD_REGION: eu-central-1}\njobs:\n  deploy:\n"
        "    runs-on: ubuntu-24.04\n    steps:\n      - run: terraform apply -parallelism=10 plan.bin\n"
    },
    check=distinct(_check),
)
