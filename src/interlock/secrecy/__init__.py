"""What may not be shown: secrets by their mark, name, place in a schema and shape, and every copy of them.

One set of rules for states, plans and whatever else quotes them. When in doubt, hide: a value can be looked up where it
belongs, but not taken back from a log.
"""

from interlock.secrecy.known import NO_KNOWN_SECRETS, KnownSecrets, environment_secrets, know_secrets
from interlock.secrecy.partly_shown import PartlyShown
from interlock.secrecy.secrets import (
    MASK,
    MIN_COPY_CHARS,
    NO_SECRETS,
    Secrets,
    gather_secrets,
    hide_quoted,
    hide_shapes,
    may_look_secret,
    may_name_secrets,
    sounds_secret,
)
from interlock.secrecy.table import secret_places
from interlock.secrecy.values import all_texts, hide_within, is_named_pair, is_placed, placed_texts

__all__ = [
    "MASK",
    "MIN_COPY_CHARS",
    "NO_KNOWN_SECRETS",
    "NO_SECRETS",
    "KnownSecrets",
    "PartlyShown",
    "Secrets",
    "all_texts",
    "environment_secrets",
    "gather_secrets",
    "hide_quoted",
    "hide_shapes",
    "hide_within",
    "is_named_pair",
    "is_placed",
    "know_secrets",
    "may_look_secret",
    "may_name_secrets",
    "placed_texts",
    "secret_places",
    "sounds_secret",
]
