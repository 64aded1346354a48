"""What may not be shown: secrets by their mark, name, place in a schema and shape, and every copy of them.

One set of rules for states, plans and whatever else quotes them. When in doubt, hide: a value can be looked up where it
belongs, but not taken back from a log.
"""

from interlock.secrecy.secrets import (
    MIN_COPY_CHARS,
    NO_SECRETS,
    Secrets,
    gather_secrets,
    hide_quoted,
    hide_shapes,
    may_name_secrets,
    sounds_secret,
)
from interlock.secrecy.table import secret_places
from interlock.secrecy.values import all_texts, hide_within, is_named_pair, is_placed, placed_texts

__all__ = [
    "MIN_COPY_CHARS",
    "NO_SECRETS",
    "Secrets",
    "all_texts",
    "gather_secrets",
    "hide_quoted",
    "hide_shapes",
    "hide_within",
    "is_named_pair",
    "is_placed",
    "may_name_secrets",
    "placed_texts",
    "secret_places",
    "sounds_secret",
]
