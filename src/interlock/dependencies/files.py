"""Files that resources upload: which one an attribute names, its text, and what a flow's file calls the flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from interlock.dependencies.site import Site
from interlock.genesys.flow_text import name_of_flow
from interlock.hcl import Call, Expression, Literal, ObjectValue, Template, Traversal, constant_text
from interlock.source.encoding import as_utf8
from interlock.source.tree import SourceUnreadable, Tree, join

MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024  # exported flows reach about 2 MB
_FLOW: Final = "genesyscloud_flow"


def names_of(site: Site, tree: Tree) -> Iterator[str]:
    """Yield what people call an object: its arguments, and for a flow the name in its YAML."""
    yield from site.names()
    value = site.resource.body.get("filepath")
    if site.resource.type == _FLOW and site.resource.mode == "managed" and value is not None:
        name = name_of_flow(text_of(tree, path_of(site, "filepath", value)), _substitutions(site))
        if name:
            yield name


def _substitutions(site: Site) -> dict[str, str]:
    given = site.resource.body.get("substitutions")
    pairs = given.items if isinstance(given, ObjectValue) else ()
    found = ((key, constant_text(value, site.scope)) for key, value in pairs)
    return {str(key.value): text for key, text in found if isinstance(key, Literal) and text is not None}


def path_of(site: Site, attribute: str, value: Expression) -> str:
    """Return the file that an attribute names, or that `file()` reads into it; empty when it is not certain."""
    if isinstance(value, Call) and value.function in {"file", "templatefile"} and value.arguments:
        return _file_name(site, value.arguments[0])
    return _file_name(site, value) if attribute.endswith(("filepath", "file_path")) else ""


def _file_name(site: Site, value: Expression) -> str:
    parts = value.parts if isinstance(value, Template) else (value,)
    texts = [_part(site, part) for part in parts]
    name = "".join(text for text in texts if text is not None)
    if None in texts or not name or "://" in name:
        return ""
    return join(site.module.path, name.lstrip("/") if isinstance(parts[0], Traversal) else name)


def _part(site: Site, part: Expression) -> str | None:
    if isinstance(part, Traversal) and part.root == "path":
        return ""
    return part.value if isinstance(part, Literal) and isinstance(part.value, str) else constant_text(part, site.scope)


def text_of(tree: Tree, path: str) -> str:
    """Return a file's text, empty when there is no path or no such file."""
    try:
        content = tree.read(path) if path else None
    except SourceUnreadable:
        return ""
    return as_utf8(content or b"")[:MAX_CONTENT_BYTES].decode("utf-8", "replace")
