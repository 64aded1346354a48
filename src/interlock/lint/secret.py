"""Which literal texts are secrets, and which only hold a place for one.

Knows: expressions. Never returns or formats the text itself.
"""

from __future__ import annotations

import re

from interlock.hcl import Expression, Literal

_MIN_CHARS = 4  # shorter texts are switches or abbreviations
_PLACEHOLDER = re.compile(
    r"""[<\[{(].*[>\]})]|\$\w+|x+|\*+|\.+|_+|-+|#+
    |(?:your|my|the|an?|some|enter|insert|add|put|replace|change|fill|todo|tbd|dummy|fake|mock|test|example|sample)
     (?:[-_ ]?me\b|[-_ ].*|\Z)
    |change-?me.*|placeholder.*|redacted.*|.*[-_](?:here|placeholder)|secret|password|token|none|null|n/?a
    |(?:oauth)?_?client_?(?:id|secret)|access_?token|mock_.*|.*_here""",
    re.VERBOSE | re.IGNORECASE,
)


def is_secret(value: Expression | None) -> bool:
    """Say whether an argument that should be secret is given as literal text, not as a place holder or reference."""
    text = value.value if isinstance(value, Literal) else None
    return isinstance(text, str) and len(text.strip()) >= _MIN_CHARS and not _PLACEHOLDER.fullmatch(text.strip())
