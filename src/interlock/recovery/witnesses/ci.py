"""What does the CI system say of the holder's job? A hand, together with `ci_github`, `ci_gitlab` and `ci_azure`.

Can prove: that the job still runs, so the holder may act; that the holder is gone, when the job is over *and* the
machine that it ran on ended with it, long enough ago by the CI system's own clock.
Cannot prove: anything about a machine that outlives its jobs. A job that is over, failed or cancelled says nothing
about processes on a self-hosted runner: a cancelled GitLab job of a shell executor runs on (gitlab-runner 27443), a
runner that lost its connection is reported as failed while it works, and what was detached from the job, such as
Interlock's own supervisor, is meant to live on. Nor does silence: an API that is down, refuses us or does not know the
job says nothing. A server that nobody vouches for is not asked at all (`ci_servers`).
Source: docs/facts/ci-systems.md#ci-5, #ci-11 and #ci-14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from interlock.amounts import amount
from interlock.ci.job import JobReference, find_job
from interlock.errors import THIS_STATE, InterlockError, command
from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.witnesses import ci_azure, ci_github, ci_gitlab
from interlock.recovery.witnesses.ci_servers import doubt, naming_command
from interlock.recovery.witnesses.ci_sighting import Machine, Sighting, Stage

END_GRACE_S = 360.0
"""How long a job must be over before its machine is taken for gone, by the CI system's clock.

GitHub ends what still runs five minutes after a cancellation; one more for the machine itself.
"""

CLOCK_SKEW_S = 300.0
"""How far the clock of whoever took the lock may be from the CI system's."""

EPHEMERAL_OPTION = "--ephemeral-runners"

Look = Callable[[JobReference, Mapping[str, str]], Sighting]
_LOOKS: Mapping[str, Look] = {
    "github": ci_github.look,
    "gitlab": ci_gitlab.look,
    "azure": ci_azure.look,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the operator vouches for.

    Attributes:
        ephemeral_runners: No runner's machine or container outlives its job, whatever the API can tell.
    """

    ephemeral_runners: bool = False


def collect(
    job: JobReference | None,
    environ: Mapping[str, str],
    *,
    now: datetime,
    trust: Trust,
    held_since: datetime | None,
) -> Evidence:
    """Ask the CI system about the holder's job. Blocks for as long as its API takes, see `Api`.

    Args:
        job: The holder's job; None when neither the lock nor the operator names one.
        environ: Where tokens and API addresses are.
        now: The observer's clock, only for the record.
        trust: What the operator vouches for.
        held_since: When the lock was taken, by whatever clock; None when nobody knows.
    """
    if job is None:
        how_to = "if the holder is a CI job, name it: --job URL"
        return _say(Says.NOTHING, "neither the lock nor you name a CI job", "", now, how_to)
    if why := doubt(job, environ):
        how_to = naming_command(job, environ) or "look at its page yourself"
        text = f"unverified: the CI server was not asked, since {why}"
        return _say(Says.NOTHING, text, job.url, now, how_to)
    try:
        sighting = _LOOKS[job.system](job, environ)
    except InterlockError as error:
        why = f"{error.what}{f': {error.why}' if error.why else ''}"
        how_to = f"look at {job.url} yourself, or give its API a token that may read it: {error.fix}"
        return _say(Says.NOTHING, f"the CI system could not be asked: {why}", job.url, now, how_to)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        why = f"its answer is not what its documentation says ({type(error).__name__})"
        return _say(
            Says.NOTHING, f"the CI system could not be asked: {why}", job.url, now, f"look at {job.url} yourself"
        )
    says, text, how_to = testify(sighting, trust=trust, held_since=held_since)
    return _say(says, text, job.url, now, how_to)


def is_ci(environ: Mapping[str, str]) -> bool:
    """Say whether this is a CI job, whose machine has its name in common with a fleet."""
    return environ.get("CI", "").lower() not in ("", "0", "false") or find_job(environ) is not None


def testify(sighting: Sighting, *, trust: Trust, held_since: datetime | None) -> tuple[Says, str, str]:
    """Return what a sighting allows to say, a sentence, and how to get what is missing. Pure."""
    match sighting.stage:
        case Stage.RUNNING:
            return Says.ALIVE, sighting.text, ""
        case Stage.UNCLEAR:
            return Says.NOTHING, sighting.text, sighting.how_to
        case Stage.OVER:
            return _not_the_holder(sighting, held_since) or _over(sighting, trust)


def _not_the_holder(sighting: Sighting, held_since: datetime | None) -> tuple[Says, str, str] | None:
    """Refuse what is said of a job that did not run when the lock was taken: it says nothing of the holder.

    A wrong address, by mistake or given by somebody, names a job that is long over; and a run that got the lock after
    its job had ended shows by itself that its machine goes on.
    """
    if held_since is None or (ran := sighting.ran_at(held_since, skew_s=CLOCK_SKEW_S)):
        return None
    why = "nobody says whether it ran" if ran is None else "it did not run"
    text = f"{sighting.text}, but {why} at {held_since:%Y-%m-%d %H:%M:%SZ}, when the lock was taken"
    return Says.NOTHING, text, "name the job that took the lock: --job URL"


def _over(sighting: Sighting, trust: Trust) -> tuple[Says, str, str]:
    since_s = sighting.over_for_s()
    if sighting.machine is not Machine.ENDS_WITH_JOB and not trust.ephemeral_runners:
        how_to = (
            f"on {sighting.machine_name or 'the machine of the job'}: {command('lock', 'explain', THIS_STATE)}; "
            f"or, if no runner's machine outlives its job, say so: {EPHEMERAL_OPTION}"
        )
        return Says.NOTHING, f"{sighting.text}, but its machine outlives it, and with it what it left", how_to
    if since_s is None:
        return Says.NOTHING, f"{sighting.text}, but the API does not say since when", "look at its page"
    if since_s < END_GRACE_S:
        how_to = f"wait {END_GRACE_S - since_s:.0f}s and look again: its machine may still be ending"
        return Says.NOTHING, f"{sighting.text}, {since_s:.0f}s ago", how_to
    word = "which ended with it" if sighting.machine is Machine.ENDS_WITH_JOB else "which you say ended with it"
    return Says.GONE, f"{sighting.text} {amount(round(since_s / 60), 'minute')} ago, on a machine {word}", ""


def _say(says: Says, text: str, source: str, now: datetime, how_to: str) -> Evidence:
    return Evidence(witness="ci", says=says, text=text, source=source, observed_at=now, how_to=how_to)
