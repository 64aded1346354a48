"""Reads the tables in `data/`: each is decoded once, on first use, into the type its reader asks for.

Knows: where the files lie. Knows nothing of what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TypeVar

import msgspec

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Where a table comes from.

    Attributes:
        table: What the table holds.
        source: The repository or page it was read from; "named row by row" when the rows differ.
        version: The version that was read.
        commit: The commit, where there is one.
        read_on: The day of reading, as an ISO date.
        note: What a reader of the table must know.
    """

    table: str
    source: str
    version: str
    commit: str = ""
    read_on: str = ""
    note: str = ""


def load_table(name: str, table: type[Table]) -> Table:
    """Decode `data/<name>.json`. Unknown fields are ignored, so a newer table can be read.

    Raises:
        msgspec.ValidationError: The file does not fit; our own mistake, found by the tests of this room.
    """
    raw = resources.files(__package__).joinpath("data", f"{name}.json").read_bytes()
    return msgspec.json.decode(raw, type=table)
