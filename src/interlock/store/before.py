"""What a book of records tells before it changes one: so an act can be written down before it is done. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Before: TypeAlias = Callable[[_T, int], Awaitable[None]]
"""Is told what a swap is about to write, or to delete, and the version of the record that it replaces; 0 for none.

It is called again when others were faster. What it raises ends the change, and nothing was written.
"""


async def nothing_before(_one: object, _version: int) -> None:
    """Tell nobody."""
