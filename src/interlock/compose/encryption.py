"""`interlock encryption`: the keys of a store, which is named as `interlock serve` has it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.compose.tokens import is_at_server
from interlock.errors import UsageError, command
from interlock.home.embedded import open_home, read_settings

if TYPE_CHECKING:
    from interlock.audit.entry import Fact
    from interlock.home.embedded import EmbeddedHome
    from interlock.store.sealing import Ring
    from interlock.store.vault import Tally, Vault


class EncryptionStatus(Struct, frozen=True, kw_only=True):
    """How a store is encrypted.

    Attributes:
        is_encrypted: Whether it is.
        masters: Ids of the master keys that open it.
        data_key: Id of the data key that seals now; empty without encryption.
        data_keys: How many data keys there are.
        tally: What is stored in which form; None when it was not counted.
    """

    is_encrypted: bool
    masters: tuple[str, ...] = ()
    data_key: str = ""
    data_keys: int = 0
    tally: Tally | None = None


def new_key() -> str:
    """Return a fresh key, as an operator keeps it."""
    from interlock.store.sealing import KEY_BYTES, spell_key

    return spell_key(os.urandom(KEY_BYTES))


def _check_by_store(store: str | None) -> None:
    """Refuse to answer about this machine's store where a server is meant: its keys are at its machine alone.

    Raises:
        UsageError: A server is named, and no store.
    """
    if is_at_server(store, os.environ):
        raise UsageError(
            "the keys of a server's store are not asked for at the server",
            why="they never leave its machine",
            fix=f"env -u INTERLOCK_SERVER {command('encryption', 'status')}    on that machine, with its --store",
        )


@asynccontextmanager
async def _vault(store: str | None) -> AsyncIterator[tuple[Vault, EmbeddedHome]]:
    from interlock.store.sealing import HOW
    from interlock.store.vault import vault_of

    _check_by_store(store)
    async with open_home(read_settings(), environ=os.environ, store=store) as home:
        vault = vault_of(home.store)
        if vault is None:
            raise UsageError("the store is not encrypted", why="no key is given", fix=HOW)
        yield vault, home


async def status(store: str | None) -> EncryptionStatus:
    """Return how the store is encrypted, and count what is in it.

    Raises:
        KeyMissing: It is encrypted, and no given key opens it.
    """
    from interlock.store.vault import vault_of

    _check_by_store(store)
    async with open_home(read_settings(), environ=os.environ, store=store) as home:
        vault = vault_of(home.store)
        return EncryptionStatus(is_encrypted=False) if vault is None else _status(vault, await vault.tally())


def _status(vault: Vault, tally: Tally | None = None) -> EncryptionStatus:
    ring = vault.ring
    return EncryptionStatus(
        is_encrypted=True, masters=ring.masters, data_key=ring.current.id, data_keys=len(ring.keys), tally=tally
    )


async def rotate(store: str | None) -> EncryptionStatus:
    """Let the first given key open the store too, and seal with a new data key from now on.

    Raises:
        UsageError: The store is not encrypted, or no given key opens it.
    """
    async with _vault(store) as (vault, home):

        async def before(ring: Ring, _version: int) -> None:
            facts = {"keys": ", ".join(ring.masters), "data_key": ring.current.id}
            await home.audit.announce("encryption-rotated", subject="store", by=home.me, facts=facts)

        await vault.rotate(before=before)
        return _status(vault)


_RETIRED = "encryption-key-retired"


async def retire(store: str | None, master_id: str) -> EncryptionStatus:
    """Let a key open the store no longer.

    Raises:
        UsageError: It is in use, or not one of the store.
    """
    async with _vault(store) as (vault, home):

        async def before(_ring: Ring, version: int) -> None:
            facts: dict[str, Fact] = {"key": master_id, "record_version": version}
            await home.audit.announce(_RETIRED, subject="store", by=home.me, facts=facts)

        await vault.retire(master_id, before=before)
        return _status(vault)


async def rewrite(store: str | None, told: Callable[[int], None]) -> EncryptionStatus:
    """Write anew what is in clear or sealed by an older data key.

    Args:
        store: The address of the store.
        told: Hears how many were written so far.
    """
    async with _vault(store) as (vault, _):
        async for done in vault.rewrite():
            told(done)
        return _status(vault, await vault.tally())
