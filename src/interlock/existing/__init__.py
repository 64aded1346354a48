"""State where it already is: other backends than our own, behind one small interface.

`discovery` finds what a root module uses, `opening` opens it. One hand a backend: `s3`, `local`.
"""

from interlock.existing.interface import (
    Description,
    ExistingBackend,
    Found,
    HeldTerraformLock,
    Origin,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
    Unsupported,
)
from interlock.existing.terraform_lock import Reference, find_reference, lock_id_of, render_reference

__all__ = [
    "Description",
    "ExistingBackend",
    "Found",
    "HeldTerraformLock",
    "Origin",
    "Reference",
    "StateVersion",
    "StoredState",
    "TerraformLock",
    "TerraformLockMoved",
    "Unsupported",
    "find_reference",
    "lock_id_of",
    "render_reference",
]
