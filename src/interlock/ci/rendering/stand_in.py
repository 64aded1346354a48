"""The root that stands in the jobs of one root for any other, until an expression takes the place of each value.

So the files for many roots, and those that ship, are made from the jobs of one root and cannot differ from them.
"""

from __future__ import annotations

import re

from interlock.ci.pipeline import Target

ONE = Target(name="ilstate/root", directory="ildirectory", environment="ilenvironment", locked=True)
"""Its values occur nowhere else in a pipeline."""

_READONLY = " -- -lockfile=readonly"
_IN_A_SHELL = re.compile(rf"^ +(?:run: |- bash: |interlock |--|exec ).*{ONE.slug}", re.MULTILINE)
_STATE = re.compile(rf"^( +)STATE: {ONE.name}$", re.MULTILINE)


def spelled_out(text: str, context: str) -> str:
    """Put the values of a root in their places: expressions, and in a shell a variable of the environment.

    Args:
        text: Jobs of GitHub or Azure as they are written for `ONE`.
        context: Where expressions find the values, such as `inputs`.
    """
    text = _IN_A_SHELL.sub(lambda line: line[0].replace(ONE.slug, "$SLUG"), text)
    text = text.replace(_READONLY, ' -- ${LOCKFILE:+"$LOCKFILE"}')
    more = f"SLUG: {ONE.slug}", f"LOCKFILE: ${{{{ {context}.lockfile }}}}"
    text = _STATE.sub(lambda line: "\n".join([line[0], *(line[1] + one for one in more)]), text)
    for word, name in (
        (ONE.name, "state"),
        (ONE.directory, "directory"),
        (ONE.environment, "environment"),
        (ONE.slug, "slug"),
    ):
        text = text.replace(word, f"${{{{ {context}.{name} }}}}")
    return text
