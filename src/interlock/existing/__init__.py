"""State where it already is: other backends than our own, behind one small interface.

`discovery` finds what a root module uses, `opening` opens it. One hand a backend: `s3`, `local`.
"""

from interlock.existing.foreign import Reference, find_reference, render_reference
from interlock.existing.interface import (
    Description,
    ExistingBackend,
    ForeignLock,
    ForeignMoved,
    Found,
    HeldForeign,
    Origin,
    StateVersion,
    StoredState,
    Unsupported,
)

__all__ = [
    "Description",
    "ExistingBackend",
    "ForeignLock",
    "ForeignMoved",
    "Found",
    "HeldForeign",
    "Origin",
    "Reference",
    "StateVersion",
    "StoredState",
    "Unsupported",
    "find_reference",
    "render_reference",
]
