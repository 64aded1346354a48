"""What every existing backend does for us: its locks as Terraform keeps them, its state, its versions.

A backend here is where a team's state already is. Interlock does not replace it and does not own it: plain Terraform
reads and writes the same items at the same time. So every change here names what it replaces, and a change whose
condition no longer holds changes nothing and raises `TerraformLockMoved`.

All methods may raise `BackendUnavailable` (throttled, unreachable: exit 30), `AuthenticationFailed` (32) and
`UsageError` (no such bucket or table: 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from interlock.errors import LockHeld, UsageError
from interlock.terraform.lockinfo import LockInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One setting of a backend and where it came from.

    Attributes:
        name: As Terraform spells it: `bucket`, `dynamodb_table`, `endpoints.s3`.
        value: For people; secrets are `(set)`.
        source: `main.tf:3`, `-backend-config=prod.s3.tfbackend`, `AWS_REGION`, `.terraform/terraform.tfstate`,
            `default`.
    """

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a backend is, for people.

    Attributes:
        type: Terraform's word: `s3`, `local`, `pg`, `http`, …
        address: Where this state is: `s3://bucket/key`, a path, a URL without credentials.
        workspace: Terraform's workspace.
        locking: What plain Terraform locks with, in the order in which it takes them: `lockfile`, `dynamodb`, `local`,
            … Empty when it does not lock.
        settings: Every setting with its origin.
        current_is_highest: The current state is the one with the highest serial, not the one that was written last.
        lock_path: How Terraform names the state in its lock; empty where that is not known.
    """

    type: str
    address: str
    workspace: str = "default"
    locking: tuple[str, ...] = ()
    settings: tuple[Origin, ...] = ()
    lock_path: str = ""
    current_is_highest: bool = False


_SHOWN = ("id", "operation", "info", "who", "version", "created", "path", "unreadable")


@dataclass(frozen=True, slots=True, kw_only=True)
class TerraformLock:
    """One lock as Terraform stored it.

    A set-up with two mechanisms has two of them under one id while it is held.

    Attributes:
        id: Terraform's lock id; what `force-unlock` is given. Empty when what is stored names none.
        operation: Such as `OperationTypeApply`.
        info: Free text.
        who: `user@host`.
        version: Of the Terraform that took it.
        created: As spelled, for people; the holder's own clock.
        created_at: The same as an instant; None when it cannot be read.
        path: The backend's address of the state.
        mechanism: `dynamodb`, `lockfile`, `local`, `pg`, `http`, …
        place: Where this lock is stored, for people: `DynamoDB table "locks", LockID b/app.tfstate`.
        raw: The stored lock document.
        condition: What a conditional deletion needs beside `raw`: an ETag, a version; empty when `raw` is enough.
        modified_at: When the store says it was written; None when it does not say.
        client: The holder's connection as a database server sees it: the client's address and port, and the server's
            port; None where there is none. It says nothing of which machine that is.
        unreadable: Why the stored document is not a lock document; empty when it is one. Such a lock still locks.
    """

    id: str
    operation: str = ""
    info: str = ""
    who: str = ""
    version: str = ""
    created: str = ""
    created_at: datetime | None = None
    path: str = ""
    mechanism: str
    place: str = ""
    raw: bytes = b""
    condition: str = ""
    modified_at: datetime | None = None
    client: tuple[str, int, int] | None = None
    unreadable: str = ""

    def __post_init__(self) -> None:
        """Make what a stranger wrote fit to be shown: it must not steer a terminal. `raw` stays as it is stored."""
        for name in _SHOWN:
            text = getattr(self, name)
            if not text.isprintable():
                object.__setattr__(self, name, "".join(each if each.isprintable() else "\ufffd" for each in text))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """The state as it is stored now.

    Attributes:
        body: Its bytes; may be no whole state.
        version_id: The store's name of these bytes, for `read_version`; empty when it keeps no versions.
        modified_at: When the store says they were written; None when it does not say.
        digest_stored: The digest that the backend keeps beside the state (DynamoDB: md5, hexadecimal); None when it
            keeps none.
        digest_computed: The same digest of `body`.
        condition: What a conditional write needs: an ETag; empty when there is nothing.
        is_absent: There is no state, only a digest that was left; `body` is empty.
        parts: In how many Secrets it is on Kubernetes, where not every tool reads more than the first.
    """

    body: bytes
    version_id: str = ""
    modified_at: datetime | None = None
    digest_stored: str | None = None
    digest_computed: str = ""
    condition: str = ""
    is_absent: bool = False
    parts: int = 1

    @property
    def digest_agrees(self) -> bool:
        """Whether Terraform would accept these bytes: without a stored digest, or with an empty one, it takes any."""
        return not self.digest_stored or (not self.is_absent and self.digest_stored == self.digest_computed)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateVersion:
    """One version that the store kept, newest first in a history.

    Attributes:
        id: For `read_version`.
        modified_at: When it was written, by the store's clock.
        size: Bytes.
        current: It is what Terraform reads now.
        is_deletion: It marks that the state was deleted; it has no bytes.
    """

    id: str
    modified_at: datetime | None
    size: int
    current: bool
    is_deletion: bool = False


def md5_of(body: bytes) -> str:
    """Return Terraform's digest of a state (MD5, hexadecimal): it guards against stale reads, not against people."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class TerraformLockMoved(LockHeld):
    """What was to be changed is not there as it was read; nothing was changed. Read again and decide anew."""

    code: ClassVar[str] = "foreign-moved"


class Unsupported(UsageError):
    """The backend cannot do this at all (no versions, no force-unlock); `fix` says what can be done instead."""

    code: ClassVar[str] = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTerraformLock:
    """Terraform's own lock, taken by us for maintenance; give it back with `give_lock`.

    Attributes:
        info: The lock document that was stored.
        locks: The items that were taken, in the order in which they were.
        files: Open files that hold it: whoever else has them open holds it too, and keeps it when we are killed.
    """

    info: LockInfo
    locks: tuple[TerraformLock, ...]
    files: tuple[int, ...] = ()


class ExistingBackend(Protocol):
    """One state in its backend."""

    def describe(self) -> Description:
        """Say what and where it is. No request."""
        ...

    async def workspaces(self) -> tuple[str, ...]:
        """Return Terraform's workspaces that have a state in this backend, sorted; the one that is open may be none."""
        ...

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """Return Terraform's locks on this state, in the order in which Terraform takes them; none when it is free."""
        ...

    async def delete_lock(self, lock: TerraformLock) -> None:
        """Delete exactly this lock: the stored document must still be the one that was read.

        Deleting a lock whose deletion succeeded before, but whose answer was lost, is fine.

        Raises:
            TerraformLockMoved: Another lock is there, or none.
            Unsupported: This backend's lock cannot be deleted from outside.
        """
        ...

    async def read_state(self) -> StoredState | None:
        """Return the state; None when there is none."""
        ...

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """Replace the state, and the digest beside it. Take Terraform's lock first.

        Args:
            body: A whole state; the caller verified it.
            expected: What was read before; None when there was no state. Backends that can make this a condition of
                the write do; the others compare just before it.

        Returns:
            What is stored now.

        Raises:
            TerraformLockMoved: Something else is stored.
        """
        ...

    async def history(self) -> tuple[StateVersion, ...]:
        """Return the versions that the store kept, newest first; the current one alone when it keeps none."""
        ...

    async def read_version(self, version_id: str) -> bytes:
        """Return the bytes of a version.

        Raises:
            UsageError: There is no such version.
        """
        ...

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """Make the stored digest that of the stored bytes; the caller verified `expected.body`.

        Returns:
            What is stored now. Backends without a digest return `expected`.

        Raises:
            TerraformLockMoved: State or digest are not as they were read.
        """
        ...

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """Take Terraform's own lock, so that plain Terraform stays out, and never wait for it.

        Raises:
            LockHeld: Somebody holds it; the facts have its `lock_id` and `who`. Nothing was left behind.
            Unsupported: This backend's lock cannot be taken from outside.
        """
        ...

    def write_under(self, lock: TerraformLock) -> None:
        """From now on write in the name of a lock that is there: the caller knows that its holder is gone.

        Where a write needs no lock's name this does nothing.
        """
        ...

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """Give it back; what is gone already is fine.

        Raises:
            TerraformLockMoved: Somebody else's lock is there; it was left alone.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What discovery found for a root module; see `discovery.find`.

    Attributes:
        type: Backend type; `local` without a backend block, `cloud` for a `cloud` block.
        settings: Name to value, as Terraform would use them; secrets included, so never shown.
        origins: The same for people, with where each came from.
        workspace: Terraform's workspace.
        workspace_source: Where that came from.
        is_empty_http: The block is `backend "http" {}`, which Interlock fills through the environment.
        is_declared: The configuration has a block for it; else `type` is `local`, which Terraform takes by itself.
        has_flags: `-backend-config` was given, on the command line or by `TF_CLI_ARGS`.
        before: What an earlier `terraform init` of the folder recorded, when that is a backend of another type.
        unsure: Why it is not certain what the configuration declares, for people: a file that cannot be read, a setting
            that this reader does not know.
        missing: Required settings that nothing gives.
        doubts: What could not be read, for people: a value that is not a constant, an unreadable file.
    """

    type: str
    settings: Mapping[str, object] = field(default_factory=dict, repr=False)
    origins: tuple[Origin, ...] = ()
    workspace: str = "default"
    workspace_source: str = "default"
    is_empty_http: bool = False
    is_declared: bool = False
    has_flags: bool = False
    before: Found | None = None
    unsure: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """Return a setting as text; None when it is absent or empty."""
        value = self.settings.get(name)
        return str(value) if value not in (None, "") else None

    def is_true(self, name: str) -> bool:
        """Say whether a setting is true, in any of Terraform's spellings."""
        return str(self.settings.get(name, "")).lower() in {"true", "1"}
