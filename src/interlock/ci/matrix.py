"""The roots that one job of a pipeline hands on to later ones: a list of rows, which GitHub uses as a matrix. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import msgspec

from interlock.bounded import decode_json
from interlock.ci.pipeline import Target
from interlock.errors import UsageError


def row_of(target: Target) -> dict[str, str]:
    """Return what later jobs are told of a root."""
    return {
        "state": target.name,
        "slug": target.slug,
        "directory": target.directory,
        "environment": target.environment,
        "lockfile": "-lockfile=readonly" if target.locked else "",
        "behind": " ".join(target.needs),
    }


def read_needs(text: str) -> Mapping[str, tuple[str, ...]]:
    """Return the states of rows, each with those that it needs.

    Raises:
        UsageError: It is something else.
    """
    try:
        rows = decode_json(text.encode(), type=list[dict[str, str]])
        return {row["state"]: tuple(row.get("behind", "").split()) for row in rows}
    except (msgspec.MsgspecError, UnicodeError, KeyError) as error:
        why = "`interlock ci roots` hands it on as `matrix`"
        raise UsageError("--states is not the list of roots", why=why, fix="interlock ci roots --json") from error


def named_roots(named: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the known roots that were named, in the order of the known ones.

    Raises:
        UsageError: A name is not known.
    """
    wanted = tuple(named)
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            why = f"the nearest is {near[0]}" if near else f"there are {', '.join(known[:5])}"
            raise UsageError(f"no root of interlock.yaml is called {name[:200]}", why=why, fix="interlock roots")
    return tuple(name for name in known if name in wanted)
