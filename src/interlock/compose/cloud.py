"""Joins the TFE API, for `cloud {}` and `backend "remote"`, with the home of a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import Route

    from interlock.backend.asgi import Service
    from interlock.backend.held_lock import HeldLocks
    from interlock.home.embedded import EmbeddedHome
    from interlock.rights.callers import Caller, Tokens
    from interlock.server.identity.exchange import Exchange
    from interlock.server.tfe.bodies import NewVersion
    from interlock.server.tfe.locking import Breaker
    from interlock.server.tfe.versions import Agree

LOCK_WAIT_S = 1800.0
"""How long a LOCK is held at most. Terraform has no limit of its own, and its user may stop waiting at any time."""
WATCH_S = 30.0
"""How long the lock of a plain Terraform is watched before it is judged, as `interlock force-unlock` does."""


def cloud_routes(  # noqa: PLR0913 - what it joins
    home: EmbeddedHome,
    tokens: Tokens,
    locks: HeldLocks,
    about: Service,
    environ: Mapping[str, str],
    *,
    is_https: bool,
    exchange: Exchange | None = None,
    wait_s: float = LOCK_WAIT_S,
    watch_s: float = WATCH_S,
) -> list[Route]:
    """Return the routes of the TFE API and of `terraform login`.

    Args:
        home: Where states, locks and workspaces are kept.
        tokens: Who may ask.
        locks: The LOCK requests that this server holds.
        about: What is known of the server.
        environ: Says where CI systems are, for `terraform force-unlock`.
        is_https: Clients reach this server by TLS, here or at a proxy.
        exchange: Gives people tokens who log in at a provider of identities; None for tokens of this server alone.
        wait_s: How long a LOCK is held at most.
        watch_s: How long a lock is watched before it is judged.
    """
    from interlock.compose.terraform_login import TrustedProviders
    from interlock.server.api.holding import hold_of
    from interlock.server.identity.records import TrustBook
    from interlock.server.tfe.answers import Answers
    from interlock.server.tfe.locking import WorkspaceLocks
    from interlock.server.tfe.logins import LoginBook, login_routes
    from interlock.server.tfe.serving import tfe_routes
    from interlock.server.tfe.uploads import UploadBook
    from interlock.server.tfe.versions import Versions
    from interlock.server.tfe.workspaces import WorkspaceBook

    records, clock = home.store.records, home.clock
    breaker = _breaker(home, environ, watch_s)
    answers = Answers(
        home.coordinator,
        home.archive,
        book=WorkspaceBook(records, clock),
        versions=Versions(
            home.coordinator, home.archive, UploadBook(records, clock, home.ids), clock, agree=_agreeing(home)
        ),
        locks=WorkspaceLocks(
            home.coordinator, locks, about, tokens, breaker=breaker, hold=hold_of(home), wait_s=wait_s
        ),
        audit=home.audit,
    )
    providers = None if exchange is None else TrustedProviders(TrustBook(records), exchange, home.ids)
    logins = login_routes(LoginBook(records, clock, home.ids), tokens, providers=providers, is_https=is_https)
    return [*logins, *tfe_routes(answers, tokens, is_https=is_https)]


def _breaker(home: EmbeddedHome, environ: Mapping[str, str], watch_s: float) -> Breaker:
    """Return what breaks the lock of a holder that is proved gone, as `interlock force-unlock` does."""

    async def break_(state: str, caller: Caller) -> str:
        from interlock.operate.unlock import Asked, open_own_case
        from interlock.rights.callers import party_of, person_of

        job = await _job_of_holder(home, state)
        asked, who, party = Asked(job=job, window_s=watch_s), person_of(caller), party_of(caller)
        async with open_own_case(state, asked, home, environ, by=who, party=party) as case:
            await case.examine()
            return (await case.break_(None)).text

    return break_


def _agreeing(home: EmbeddedHome) -> Agree:
    """Return what has another person agree to a state that is pushed by force: it replaces the current one."""

    async def agree(state: str, new: NewVersion, caller: Caller) -> None:
        from interlock.policy.approval import Kind
        from interlock.rights.callers import party_of, person_of
        from interlock.site.second_person import have_second_person

        exact = ("cloud-push", new.serial, new.lineage, new.md5)
        what = f"push a state of serial {new.serial} (md5 {new.md5[:12]}) to {state} by force"
        who, party = person_of(caller), party_of(caller)
        await have_second_person(home, state, Kind.RESTORE, exact=exact, what=what, by=who, party=party)

    return agree


async def _job_of_holder(home: EmbeddedHome, state: str) -> str | None:
    """Return the CI job of a holder whose token is called after it, such as one made for that job alone."""
    from interlock.ci.job import parse_job

    holders = (await home.coordinator.view(state)).lock.holders
    note = holders[0].who.rpartition(" (")[0] if holders else ""
    return note if parse_job(note) is not None else None
