"""One object that a run made, or may have made; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from interlock.foreign_text import one_line

NAME_CHARS = 200
"""Of a name that is kept; the API takes at most 256 for most objects."""
ID_CHARS = 256
"""Longest id that is kept; a UUID has 36, an e-mail route's import id two of them."""


class Place(Struct, frozen=True, kw_only=True):
    """The organisation in which something was made, as far as it is known.

    Attributes:
        client: What stands for the API's address and the OAuth client; see `interlock.gateway.service`.
        organisation: Its id; empty when nobody asked for it yet.
        api: Address of its API.
        provider: The provider configuration that leads there, for people.
    """

    client: str
    organisation: str = ""
    api: str = ""
    provider: str = ""

    def is_same(self, other: Place) -> bool:
        """Say whether the two are certainly one organisation."""
        if self.organisation and other.organisation:
            return self.organisation == other.organisation
        return bool(self.client) and self.client == other.client  # one that is learned later is not known yet


class Creation(Struct, frozen=True, kw_only=True):
    """One object that a run made, or may have made.

    Attributes:
        key: Its record in the book.
        run: The run.
        state: The run's state.
        place: In which organisation.
        path: Of the object below `/api/v2`, when it has an id; else of the call.
        type: Resource type; empty when nobody knows which one it is.
        id: Of the object; empty when its answer was not heard.
        import_id: What imports it; empty likewise.
        name: By which people know it; empty when it has none.
        address: Where the run's plan wanted it; empty when that is not known.
        at: When the call was sent.
        doubt: Why it is not certain that it was made; empty when it is.
        job: Id of the job whose result it is, while the job was not seen to end.
        schema: Version of this record's format.
    """

    key: str
    run: str
    state: str
    place: Place
    path: str
    type: str = ""
    id: str = ""
    import_id: str = ""
    name: str = ""
    address: str = ""
    at: datetime
    doubt: str = ""
    job: str = ""
    schema: int = 1

    @property
    def is_importable(self) -> bool:
        """Whether an `import` block can be written for it."""
        return bool(self.type and self.import_id)


def spell(creation: Creation) -> str:
    """Return how people name it: type, name, id."""
    kind = creation.type or f"made at {creation.path}, type unknown"
    name = f' "{one_line(creation.name, limit=NAME_CHARS)}"' if creation.name else ""
    what = f"{kind}{name}"
    if creation.id:
        doubt = f"; not certain: {creation.doubt}" if creation.doubt else ""
        return f"{what} (id {one_line(creation.id, limit=ID_CHARS)}{doubt})"
    return f"{what} ({creation.doubt or 'its id is not known'})"


def spell_some(creations: Iterable[Creation], limit: int = 5) -> str:
    """Return several in one sentence."""
    every = list(creations)
    more = len(every) - limit
    return ", ".join(map(spell, every[:limit])) + (f" and {more} more" if more > 0 else "")
