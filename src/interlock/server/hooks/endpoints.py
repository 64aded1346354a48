"""Rows of the API about hooks: what a code host tells, and who may tell it. A hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.api.hooks import COMMENT_PATH, ChangedHook, Heard, MadeHook, NewHook, ToldHook, ToldHooks
from interlock.audit.announcing import Announce, announcing
from interlock.audit.entry import Fact
from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.rights import Right
from interlock.rights.roles import matches
from interlock.server.api.table import BASE, BODY_BYTES_MAX, AnyEndpoint, Call, NoBody, NoQuery, acts, reads
from interlock.server.hooks.book import HookBook
from interlock.server.hooks.hearing import Hearing
from interlock.server.hooks.hook import Hook, HookPlatform
from interlock.store import RecordDamaged
from interlock.store.before import Before

if TYPE_CHECKING:
    from interlock.audit.log import AuditLog


class OfHook(Struct, frozen=True, kw_only=True):
    """Is about one hook.

    Attributes:
        name: As the list has it.
    """

    name: str


class HookKeeper:
    """Changes hooks, and writes each change down.

    Args:
        book: Where they are.
        audit: Hears who did what.
        clock: The store's.
    """

    def __init__(self, book: HookBook, audit: AuditLog, *, clock: Clock) -> None:
        self._book = book
        self._audit = audit
        self._clock = clock

    async def add(self, asked: NewHook, *, by: str) -> MadeHook:
        """See `HookBook.add`. The secret is told this once."""
        hook = Hook(
            name=asked.name,
            platform=platform_named(asked.platform),
            repository_id=asked.repository_id,
            states=asked.states,
            persons=dict(asked.persons),
            secret=self._book.fresh_secret(),
            made_by=by,
            made_at=self._clock.now(),
        )
        async with announcing(self._audit, by=by) as announce:

            async def before(hook: Hook, _version: int) -> None:
                await announce("hook-added", subject=hook.name, facts=_facts_of(hook))

            kept = await self._book.add(hook, before=before)
        return MadeHook(about=told_hook(kept), secret=kept.secret if kept.secret == hook.secret else "")

    async def rotate(self, name: str, *, by: str) -> MadeHook:
        """See `HookBook.rotate`. The secret is told this once."""
        async with announcing(self._audit, by=by) as announce:
            after = await self._book.rotate(name, before=_telling(announce, "hook-rotated"))
        return MadeHook(about=told_hook(after), secret=after.secret)

    async def change(self, name: str, asked: ChangedHook, *, by: str) -> ToldHook:
        """See `HookBook.change`."""
        async with announcing(self._audit, by=by) as announce:
            before = _telling(announce, "hook-changed")
            changed = await self._book.change(name, states=asked.states, persons=asked.persons, before=before)
        return told_hook(changed)

    async def remove(self, name: str, *, by: str) -> None:
        """See `HookBook.remove`."""
        async with announcing(self._audit, by=by) as announce:

            async def before(name: str, version: int) -> None:
                await announce("hook-removed", subject=name, facts={"record_version": version})

            await self._book.remove(name, before=before)

    async def all(self) -> ToldHooks:
        """Return all, without their secrets."""
        hooks, unreadable = await self._book.all()
        return ToldHooks(hooks=[told_hook(each) for each in hooks], unreadable=list(unreadable))

    async def comments_on(self, state: str, ordered_by: Sequence[str]) -> str:
        """Return the code host where a comment decides a request; see `CommentsOn`."""
        hooks: tuple[Hook, ...] = ()
        with suppress(RecordDamaged):  # it is told for people alone: no request may fail for it
            hooks = (await self._book.all())[0] if ordered_by else ()
        fits = (
            each.platform.value
            for each in hooks
            if matches(each.states, state) and any(_is_at(each, one) for one in ordered_by)
        )
        return next(fits, "")


def _facts_of(hook: Hook) -> dict[str, Fact]:
    persons = ", ".join(f"{hook.account(each)} ({name})" for each, name in hook.persons.items())
    return {"repository": f"{hook.platform.value} {hook.repository_id}", "states": hook.states, "persons": persons}


def _telling(announce: Announce, action: str) -> Before[Hook]:
    async def before(hook: Hook, version: int) -> None:
        await announce(action, subject=hook.name, facts={**_facts_of(hook), "record_version": version})

    return before


def _is_at(hook: Hook, account: str) -> bool:
    return account.startswith(hook.account(""))


def platform_named(text: str) -> HookPlatform:
    """Return a code host by its name.

    Raises:
        UsageError: There is none of this name.
    """
    try:
        return HookPlatform(text)
    except ValueError:
        names = " or ".join(each.value for each in HookPlatform)
        raise UsageError(f"{text[:40]!a} is no code host whose comments count", why=f"name {names}") from None


def told_hook(hook: Hook) -> ToldHook:
    """Return what may be told of a hook."""
    return ToldHook(
        name=hook.name,
        platform=hook.platform.value,
        repository_id=hook.repository_id,
        states=hook.states,
        persons=dict(hook.persons),
        made_by=hook.made_by,
        made_at=hook.made_at,
        rotated_at=hook.rotated_at,
        changed_at=hook.changed_at,
        path=f"{BASE}{COMMENT_PATH}?name={hook.name}",
    )


def hook_endpoints(keeper: HookKeeper, hearing: Hearing) -> list[AnyEndpoint]:
    """Return the rows."""

    async def hear(call: Call[OfHook, bytes]) -> Heard:
        """What a code host tells of a comment on a pull request, signed; the comment may decide a request."""
        return await hearing.hear(call.query.name, call.headers, call.body)

    async def all_of_them(_call: Call[NoQuery, NoBody]) -> ToldHooks:
        """The hooks by which comments on pull requests decide requests, without their secrets."""
        return await keeper.all()

    async def add(call: Call[NoQuery, NewHook]) -> MadeHook:
        """Make a hook: whose comments on pull requests of which repository decide requests."""
        return await keeper.add(call.body, by=call.caller.who)

    async def change(call: Call[OfHook, ChangedHook]) -> ToldHook:
        """Let a hook be for other states or persons; its repository and its secret stay."""
        return await keeper.change(call.query.name, call.body, by=call.caller.who)

    async def rotate(call: Call[OfHook, NoBody]) -> MadeHook:
        """Give a hook another secret."""
        return await keeper.rotate(call.query.name, by=call.caller.who)

    async def remove(call: Call[OfHook, NoBody]) -> None:
        """Take a hook away."""
        await keeper.remove(call.query.name, by=call.caller.who)

    admin = Right.ADMINISTER
    return [
        acts(
            COMMENT_PATH,
            hear,
            right=None,
            is_open=True,
            query=OfHook,
            body=bytes,
            answer=Heard,
            limit_bytes=BODY_BYTES_MAX,
        ),
        reads("/hooks", all_of_them, right=admin, query=NoQuery, answer=ToldHooks),
        acts("/hooks", add, right=admin, query=NoQuery, body=NewHook, answer=MadeHook),
        acts("/hooks", change, method="PUT", right=admin, query=OfHook, body=ChangedHook, answer=ToldHook),
        acts("/hooks/secret", rotate, right=admin, query=OfHook, body=NoBody, answer=MadeHook),
        acts("/hooks", remove, method="DELETE", right=admin, query=OfHook, body=NoBody, answer=None),
    ]
