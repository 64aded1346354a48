"""Which states a glob names: `prod/*`, `prod/**`. Pure: the one place where that is decided."""

from __future__ import annotations

import re
from functools import lru_cache

from interlock.errors import UsageError

EVERY_STATE = "**"
GLOB_MAX = 200
_EVERYTHING, _PART = "**", "*"
_STARS = frozenset({_EVERYTHING, _PART})
_GLOB = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*@/-]*\Z", re.ASCII)


@lru_cache(maxsize=4096)  # each request of a token asks it
def matches(glob: str, state: str) -> bool:
    """Say whether a glob names a state: `*` stands for anything within a part of the name, `**` also across parts.

    A workspace is part of the last part: `prod/*` names `prod/routing` and `prod/routing@eu`, and not `prod/a/b`.
    """
    reached = {0}
    words = _words(glob)
    for character in state:
        reached = {each for at in _beyond(words, reached) for each in _taken(words, at, character)}
    return len(words) in _beyond(words, reached)


def beginning_of(glob: str) -> str:
    """Return what the name of every state that a glob names begins with; "" for no common beginning."""
    return glob.partition(_PART)[0]


def check_glob(glob: str) -> str:
    """Return a glob over names of states.

    Raises:
        UsageError: It can name none.
    """
    if len(glob) <= GLOB_MAX and _GLOB.match(glob) and "***" not in glob:
        return glob
    raise UsageError(
        f"{glob[:GLOB_MAX]!a} names no states",
        why="it is made of the characters of state names, `*` within a part and `**` across parts",
        fix="write prod/*, prod/** or **",
    )


def _words(glob: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\*\*|.", glob, re.DOTALL))


# All places in the glob at once, in a time that rises with the length of the name: a regular expression made of twenty
# stars tries more ways than there is time, and whoever may ask for a state would hold up the server with its name.
def _beyond(words: tuple[str, ...], reached: set[int]) -> set[int]:
    """Return the places in a glob, with those behind stars that stand for nothing."""
    found = set(reached)
    for at, word in enumerate(words):
        if at in found and word in _STARS:
            found.add(at + 1)
    return found


def _taken(words: tuple[str, ...], at: int, character: str) -> tuple[int, ...]:
    """Return where the next character of a name leads from a place in a glob."""
    word = words[at] if at < len(words) else ""
    if word == character:
        return (at + 1,)
    return (at,) if word == _EVERYTHING or (word == _PART and character != "/") else ()
