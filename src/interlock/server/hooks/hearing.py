"""Hears what a code host tells, and lets a comment decide a request. A hand.

Nothing of a body is believed before its signature is checked, and nothing is written for what nobody of those who may
decide wrote: whoever may comment on a public repository could else fill the store and the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from interlock.api.hooks import Heard
from interlock.api.problem import problem_of
from interlock.audit.entry import Fact
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError, command
from interlock.foreign_text import one_line
from interlock.operate import approving
from interlock.policy.approval import Approval, Kind, Verdict, standing
from interlock.rights.roles import matches
from interlock.rights.token import Forbidden
from interlock.server.hooks.book import HeardComments, HookBook
from interlock.server.hooks.events import Comment, read_event
from interlock.server.hooks.hook import Hook, HookPlatform
from interlock.server.hooks.signature import CLOCKS_S, NO_SECRET, is_signed
from interlock.server.hooks.typed import Typed, read_typed
from interlock.site.ref import own_address

if TYPE_CHECKING:
    from interlock.home.interface import Home

GOOD_FOR = timedelta(days=1)
"""A comment that arrives later than this decides nothing, so for so long it is remembered that it was heard."""
_OUTCOMES = {Verdict.APPROVE: "approved", Verdict.REJECT: "rejected"}
_LOGIN_CHARS = 64
_URL_CHARS = 300


class Hearing:
    """Hears code hosts.

    Args:
        hooks: Who may tell what.
        heard: Comments that were heard.
        home: Where requests are.
    """

    def __init__(self, hooks: HookBook, heard: HeardComments, home: Home) -> None:
        self._hooks = hooks
        self._heard = heard
        self._home = home

    async def hear(self, name: str, headers: Mapping[str, str], body: bytes) -> Heard:
        """Return what became of an event.

        Args:
            name: Of the hook.
            headers: By names in lower case.
            body: As it was sent.

        Raises:
            AuthenticationFailed: There is no such hook, or it is not signed with its secret.
            UsageError: It is signed, and no event of this code host.
            BackendUnavailable: The store cannot be reached; nothing was decided.
        """
        hook = await self._signed(name, headers, body)
        event = read_event(hook.platform, body)
        if isinstance(event, str):
            return Heard(outcome="ignored", why=event)
        try:
            return await self._heard_comment(hook, event)
        except BackendUnavailable:
            raise
        except InterlockError as error:
            return _refused(error)

    async def _signed(self, name: str, headers: Mapping[str, str], body: bytes) -> Hook:
        hook, now_s = await self._hooks.find(name), self._home.clock.now().timestamp()
        secret, platform = (NO_SECRET, HookPlatform.GITHUB) if hook is None else (hook.secret, hook.platform)
        if not is_signed(secret, platform, headers, body, now_s=now_s) or hook is None:
            raise AuthenticationFailed(
                "this is not signed by a hook",
                why="there is no hook of this name, or it has another secret",
                fix=f"{command('hook', 'ls')}    on the server; `hook rotate` makes another secret",
            )
        return hook

    async def _heard_comment(self, hook: Hook, comment: Comment) -> Heard:
        """Return what became of a comment. Raises what is wrong with it."""
        if comment.repository_id != hook.repository_id:
            raise Forbidden(
                "the comment decides nothing",
                why=f"it is of repository {comment.repository_id}, and hook {hook.name} is of {hook.repository_id}",
                fix=command("hook", "ls"),
            )
        if (typed := _typed(comment)) is None:
            return Heard(outcome="ignored", why="it is not a command")
        if comment.person_id not in hook.persons:
            raise Forbidden(
                "the comment decides nothing",
                why=f"hook {hook.name} does not name {hook.account(comment.person_id)}",
                fix=f"{command('hook', 'ls')}    on the server shows who may",
            )
        now = self._home.clock.now()
        _check_fresh(hook, comment, now)
        until = comment.written_at + GOOD_FOR
        taken = await self._heard.take(hook.name, comment.id, until=until, now=now)
        if taken is None:
            return Heard(outcome="repeated", why="this comment was heard before")
        try:
            heard = await self._decided(hook, comment, typed)
        except BackendUnavailable:
            await self._heard.give_back(hook.name, comment.id, until=until, taken=taken)
            raise
        except InterlockError:
            await self._heard.finish(hook.name, comment.id, until=until, taken=taken)
            raise
        await self._heard.finish(hook.name, comment.id, until=until, taken=taken)
        return heard

    async def _decided(self, hook: Hook, comment: Comment, typed: Typed | UsageError) -> Heard:
        """Decide a request by a comment; what is refused to one who may decide is written down."""
        await self._heard.forget(self._home.clock.now())
        request = typed.request if isinstance(typed, Typed) else ""
        found = None
        try:
            if isinstance(typed, UsageError):
                raise typed
            found = await self._request(hook, typed)
            after = await approving.decide(
                found.id,
                typed.verdict,
                self._home,
                reason=one_line(typed.reason),
                who=_who(hook, comment),
                account=hook.account(comment.person_id),
                via=_via(comment),
                digest=typed.digest,
            )
        except BackendUnavailable:
            raise
        except InterlockError as error:
            await self._write_down_refusal(hook, comment, error, request=request, approval=found)
            raise
        current = standing(after, self._home.clock.now())
        return Heard(outcome=_OUTCOMES[typed.verdict], request=after.id, state=after.state, standing=current.value)

    async def _request(self, hook: Hook, typed: Typed) -> Approval:
        """Return the request that a comment names; one that the hook is not for is not there for it.

        Raises:
            UsageError: There is none that it may decide.
        """
        found = await self._existing(typed.request)
        if found is None or not matches(hook.states, found.state) or found.kind not in {Kind.APPLY, Kind.EXEC}:
            raise UsageError(
                f"there is no request {typed.request[:40]!a} that a comment can decide",
                why=f"hook {hook.name} is for plans and commands of the states {hook.states}",
                fix=command("approvals", "ls"),
            )
        return found

    async def _existing(self, name: str) -> Approval | None:
        try:
            return await self._home.approvals.get(name)
        except UsageError:
            return None

    async def _write_down_refusal(
        self, hook: Hook, comment: Comment, error: InterlockError, *, request: str, approval: Approval | None
    ) -> None:
        facts: dict[str, Fact] = {"hook": hook.name, "request": request[:40], "via": _via(comment)}
        facts |= {"refused": error.what, "why": error.why, "comment": one_line(comment.text, limit=300)}
        subject = own_address(approval.state) if approval is not None else hook.name
        await self._home.audit.append("comment-refused", subject=subject, by=_who(hook, comment), facts=facts)


def _typed(comment: Comment) -> Typed | UsageError | None:
    """Return what was typed; an error of one who means a decision and spells it wrong is told once it is known who."""
    try:
        return read_typed(comment.text)
    except UsageError as error:
        return error


def _check_fresh(hook: Hook, comment: Comment, now: datetime) -> None:
    """Refuse a comment from long ago, or from before its writer was listed: it could be told again once they are.

    Raises:
        UsageError: It is one.
    """
    clocks = timedelta(seconds=CLOCKS_S)
    if hook.since - clocks <= comment.written_at and now - GOOD_FOR < comment.written_at <= now + clocks:
        return
    raise UsageError(
        "the comment decides nothing",
        why="it was written over a day ago, before the hook was made or changed, or by a clock that is wrong",
        fix="write a new one",
    )


def _who(hook: Hook, comment: Comment) -> str:
    login = one_line(comment.login or hook.persons.get(comment.person_id, ""), limit=_LOGIN_CHARS)
    return f"{hook.account(comment.person_id)} ({login})"


def _via(comment: Comment) -> str:
    return f"comment {one_line(comment.url, limit=_URL_CHARS)}".strip()


def _refused(error: InterlockError) -> Heard:
    return Heard(outcome="refused", why=error.why or error.what, problem=problem_of(error))
