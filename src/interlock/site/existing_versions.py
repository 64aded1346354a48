"""A state in an existing backend, put right: restored, pushed, repaired, accepted. A hand.

What is replaced is kept first, as a file under the home, whatever the backend keeps itself. Every write happens under
Terraform's own lock and only over exactly the state that was looked at before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from interlock import __version__
from interlock.audit.announcing import announcing
from interlock.audit.entry import Fact
from interlock.coordinator import Coordinator
from interlock.coordinator.archive import decrypted
from interlock.errors import StateInvalid, UsageError, command
from interlock.existing import StoredState
from interlock.host import name_own_process
from interlock.ids import terraform_id
from interlock.lock import Resumed
from interlock.policy.approval import Kind
from interlock.recovery.damage import read_whole
from interlock.recovery.keep import Keep
from interlock.recovery.witnesses.process import render_name
from interlock.rights import Right
from interlock.settings.values import Settings
from interlock.site.act_entries import change_pause
from interlock.site.existing_history import ExistingHistory, StoredVersion, readable
from interlock.site.intent import DELETIONS_ACCEPTED, STATE_ACCEPTED, STATE_RESTORED
from interlock.site.interface import PlannedRepair, PlannedRestore
from interlock.site.moved import address_moved_to, moved_to
from interlock.site.second_person import have_second_person
from interlock.state import (
    AnyDocument,
    Document,
    EncryptedDocument,
    Refusal,
    content_digest,
    empty_document,
    find_deletions,
    judge_successor,
    parse_state,
    plan_restore,
    refusing,
    render_document,
    verify_state,
)
from interlock.state.history import MAX_SUSPECT
from interlock.terraform.lockinfo import build_lock_info


class ExistingVersions(ExistingHistory):
    """See `interlock.site.interface.Versions`."""

    async def plan_restore(self, text: str | None) -> PlannedRestore:
        """See `Versions.plan_restore`.

        By default the newest that is whole and follows from sound ones; of a state under review, the newest that has
        what the review misses.
        """
        text = text if text is not None else await self._before_review()
        chosen = await self.version(text) if text is not None else await self._newest_sound()
        stored = await self.backend.read_state()
        body = await self.read(chosen.id)
        if faults := refusing(verify_state(body)):
            raise StateInvalid(
                f"version {chosen.id} cannot be restored",
                why=faults[0].message,
                fix=command("state", "history", self.subject),
            )
        target = parse_state(body)
        plan = plan_restore(
            current=readable(stored), target=target, highest_serial=await self._highest_serial(target.lineage)
        )
        name = f"version {chosen.number} ({chosen.id}, serial {chosen.serial})"
        return PlannedRestore(chosen=chosen, label=name if chosen.number else chosen.id, plan=plan, stored=stored)

    async def restore(self, planned: PlannedRestore) -> int:
        """See `Versions.restore`; writes the digest beside it too.

        Raises:
            LockHeld: Somebody holds the lock.
            TerraformLockMoved: The state changed since the plan was made.
        """
        assert isinstance(planned.chosen, StoredVersion)
        serial = planned.plan.next_serial
        exact, what = (planned.chosen.id, serial), f"restore {planned.label} of {self.subject} as {serial}"
        await have_second_person(self.home, self.ref.queue, Kind.RESTORE, exact=exact, what=what)
        facts: dict[str, Fact] = {"version": planned.chosen.id, "serial": planned.plan.next_serial}
        stored = await self._replace(planned.plan.body(), planned.stored, action=STATE_RESTORED, facts=facts)
        await self._end_review()
        return parse_state(stored.body).serial

    async def plan_repair(self) -> PlannedRepair:
        """See `Versions.plan_repair`: of the digest, which must not agree with what is damaged or not the right one."""
        stored = await self.backend.read_state()
        if stored is None or stored.digest_agrees:
            return PlannedRepair(text="the digest agrees with the state, or the backend keeps none")
        chain = await self.chain()
        about = await self.about_what_is_missing(stored, is_sound=chain.is_current_sound)
        if lost := [finding for finding in about if finding.code == "state-lost"]:
            raise StateInvalid(
                f"the digest of {self.subject} was not repaired",
                why=lost[0].message,
                fix=command("state", "history", self.subject),
            )
        if stored.is_absent or not chain.is_current_sound:
            why = "the state object is gone" if stored.is_absent else "it is damaged, or not the successor of the last"
            raise StateInvalid(
                f"the digest of {self.subject} was not repaired",
                why=f"{why}; a digest that agrees would only hide that",
                fix=command("state", "restore", self.subject),
            )
        text = (
            f"the digest would change from {stored.digest_stored} to {stored.digest_computed}, that of the whole state"
        )
        return PlannedRepair(
            text=text,
            target=stored,
            question=f"Repair the digest of {self.subject}?",
            outcome="Terraform accepts the state again",
        )

    async def repair(self, planned: PlannedRepair) -> None:
        """See `Versions.repair`: writes the digest of exactly the state that was verified."""
        stored = planned.target
        assert isinstance(stored, StoredState)
        facts: dict[str, Fact] = {"before": stored.digest_stored, "after": stored.digest_computed}
        async with announcing(self.log, by=self.home.me) as announce, self.holding("state-repair"):
            await announce("digest-repaired", subject=self.address, facts=facts)
            await self.backend.repair_digest(expected=stored)

    async def _plan_push(self, body: bytes, *, force: bool) -> tuple[StoredState | None, AnyDocument]:
        """Check that a document may become current; return what it would replace.

        Raises:
            StateInvalid: It is damaged, or may not follow the current state.
        """
        if faults := refusing(verify_state(body)):
            raise StateInvalid("the file was not pushed", why=faults[0].message, fix="interlock state verify FILE")
        document = parse_state(body)
        stored = await self.backend.read_state()
        current = readable(stored)
        if current is None and stored is not None and not stored.is_absent:
            chain = await self.chain()
            current = read_whole(chain.newest_sound.body) if chain.newest_sound is not None else None
        if isinstance(current, EncryptedDocument) and isinstance(document, Document) and not force:
            raise decrypted("the file was not pushed")
        verdict = judge_successor(current, document)
        if isinstance(verdict, Refusal) and not force:
            raise StateInvalid(
                "the file was not pushed",
                why=verdict.why,
                fix=f"{command('state', 'diff', self.subject)}; --force accepts another lineage or serial",
                finding=verdict.code,
            )
        if current is not None and document.serial <= current.serial and self.backend.describe().current_is_highest:
            self._check_becomes_current(body, stored, serial=current.serial)
        return stored, document

    def _check_becomes_current(self, body: bytes, stored: StoredState | None, *, serial: int) -> None:
        """Refuse what would be stored below the current state and leave it current, so that a push seems to be lost."""
        if stored is not None and stored.body == body:
            return
        again = command("state", "push", "--state", self.subject, "--force", "FILE")
        raise UsageError(
            "the file was not pushed: it would not become the current state",
            why=f"{self.address} takes the state with the highest serial for the current one, and has serial {serial}",
            fix=f"give the file a serial above {serial}, then: {again}",
        )

    async def current(self) -> bytes | None:
        """See `Versions.current`."""
        stored = await self.backend.read_state()
        return None if stored is None or stored.is_absent else stored.body

    async def push(
        self, body: bytes, *, force: bool, note: str = "pushed by hand", back_from: str = ""
    ) -> Mapping[str, Any]:
        """See `Versions.push`: the document is stored as it is."""
        stored, document = await self._plan_push(body, force=force)
        repeated = stored is not None and stored.body == body and stored.digest_agrees
        if not repeated:
            facts: dict[str, Fact] = {"serial": document.serial, "forced": force, "note": note}
            await self._replace(body, stored, action="state-pushed", facts=facts)
        await self._end_review()
        await self._end_move(back_from)
        return {"repeated": repeated, "serial": document.serial}

    async def accept(self) -> tuple[str, ...]:
        """See `Versions.accept`. The backend keeps no descriptions of versions, so only the queue knows of a review."""
        reason = await self.review()
        if not reason:
            await self._begin_anew()
            return ()
        # Not simply the version before: Terraform may have written again after the write that dropped something.
        before, current = await self.pair(await self._before_review(), None)
        lacks = sorted(find_deletions(before, current))[:MAX_SUSPECT]
        facts: dict[str, Fact] = {"reason": reason, "lacks": lacks}
        await self.log.append(STATE_ACCEPTED, subject=self.address, by=self.home.me, facts=facts)
        await self._end_review()
        return tuple(lacks)

    async def accept_deletions(self) -> None:
        """See `Versions.accept_deletions`."""
        facts: dict[str, Fact] = {"content": content_digest(await self.document(None))}
        await self.log.append(DELETIONS_ACCEPTED, subject=self.address, by=self.home.me, facts=facts)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _begin_anew(self) -> None:
        """Store an empty state of a new lineage where a state was deleted on purpose; else do nothing."""
        if any(finding.code == "state-gone" for finding in await self.findings(None)):
            body = render_document(empty_document(lineage=terraform_id(self.home.ids)))
            await self._replace(body, None, action=STATE_ACCEPTED, facts={"begun": True})

    async def _before_review(self) -> str | None:
        """Return the version that a review would go back to; None without a review, or when no version has more."""
        if not await self.review():
            return None
        current = await self.document(None)
        for version in await self.history():
            is_older = version.whole and version.number and not version.current
            if is_older and find_deletions(await self.document(version.id), current):
                return version.id
        return None

    async def _end_review(self) -> None:
        if self.coordinator is not None and (reason := await self.review()):
            await self._resume(self.coordinator, reason)

    async def _end_move(self, back_from: str) -> None:
        """Let runs go on here when the state has come back from where it was moved."""
        queue, name = self.coordinator, self.ref.queue
        if queue is not None and back_from and address_moved_to((await queue.view(name)).lock.pause) == back_from:
            await self._resume(queue, moved_to(back_from))

    async def _resume(self, queue: Coordinator, reason: str) -> None:
        ended = Resumed(by=self.home.me, reason=reason)
        await change_pause(queue, self.ref.queue, ended, home=self.home, subject=self.address)

    async def _replace(
        self, body: bytes, stored: StoredState | None, *, action: str, facts: Mapping[str, Fact]
    ) -> StoredState:
        """Keep what is there, record what is done, write under the lock, and look at it again."""
        kept: Path | None = None
        if stored is not None and not stored.is_absent:
            kept = await asyncio.to_thread(self.keep.save, self.address, stored.body, now=self.home.clock.now())
        recorded = {**facts, "replaced": str(kept) if kept else None, "sha256": hashlib.sha256(body).hexdigest()}
        async with announcing(self.log, by=self.home.me) as announce, self.holding(action):
            await announce(action, subject=self.address, facts=recorded)
            done = await self.backend.write_state(body, expected=stored)
        if done.body != body or not done.digest_agrees:
            raise StateInvalid(
                f"{self.subject} is not what was written",
                why="somebody wrote state or digest at the same time",
                fix=command("state", "verify", self.subject),
            )
        # What we wrote is kept too: where the backend keeps one version, ours may be the only other copy.
        await asyncio.to_thread(self.keep.save, self.address, body, now=self.home.clock.now())
        return done

    @asynccontextmanager
    async def holding(self, what: str) -> AsyncIterator[None]:
        """Hold Terraform's lock."""
        await self.home.check_may(Right.APPLY, self.ref.queue)
        info = build_lock_info(
            id=self.home.ids.fresh(),
            operation=what,
            who=self.home.me,
            version=f"interlock-{__version__}",
            now=self.home.clock.now(),
            path=self.address,
        )
        named = replace(info, info=render_name(name_own_process()))
        held = await self.backend.take_lock(named)
        try:
            yield
        finally:
            await self.backend.give_lock(held)

    async def _newest_sound(self) -> StoredVersion:
        chain = await self.chain()
        stored = await self.backend.read_state()
        is_there = stored is not None and not stored.is_absent
        if chain.is_current_sound and is_there:
            raise UsageError(
                f"the current state of {self.subject} is whole and follows from the one before",
                why="so there is nothing to restore by itself",
                fix=f"{command('state', 'history', self.subject)}; then name one: --version",
            )
        if chain.newest_sound is not None:
            return await self.version(chain.newest_sound.id)
        kept = [one for one in await self.history() if one.whole and not one.current]
        if not kept:
            raise UsageError(f"{self.subject} has no whole version", fix=command("state", "history", self.subject))
        return kept[0]

    async def _highest_serial(self, lineage: str) -> int:
        serials = [one.serial for one in await self.history() if one.lineage == lineage and one.serial is not None]
        lost = [one.serial for one in await self.known() if one.lineage == lineage]
        return max([*serials, *lost], default=0)


def keep_of(settings: Settings) -> Keep:
    """Return where replaced states are kept."""
    return Keep(settings.home / "kept")
