"""Secrets that are known before anything is shown: values of variables, credentials of the environment.

Where they occur in what Terraform or an API says, they are hidden, in every spelling (`secrets`). A value of fewer than
`MIN_KNOWN_CHARS` characters is not looked for: it would be found everywhere, and tells next to nothing. One that is
shorter than `MIN_COPY_CHARS` is hidden where it stands as a word of its own. Everyday words and words of
configurations, such as `true` or `prod`, are none: without them logs could not be read, and guessing them is not work.
Neither is what a command names openly, such as its state: a pipeline gives `TF_VAR_domain=orders` to a run of `orders`,
and every next line would be a command that fails.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from interlock.late_pattern import late
from interlock.secrecy.secrets import (
    MASK,
    MIN_COPY_CHARS,
    NO_SECRETS,
    Secrets,
    assigned_secrets,
    gather_secrets,
    sounds_secret,
)

MIN_KNOWN_CHARS: Final = 4
_COMMON: Final = frozenset(
    {"true", "false", "null", "none", "test", "prod", "production", "staging", "stage", "main", "root", "admin", "user"}
    | {"default", "enabled", "disabled", "local", "localhost", "genesyscloud", "terraform", "interlock", "password"}
    | {"secret", "token", "unknown", "string", "number", "managed"}
    # words of our own commands
    | {
        "apply",
        "plan",
        "destroy",
        "drift",
        "state",
        "lock",
        "queue",
        "runs",
        "logs",
        "show",
        "latest",
        "recover",
        "module",
    }
    | {"help", "file", "folder", "auto-approve", "json", "doctor", "wait", "init"}
)
# Named otherwise than `sounds_secret` looks for: in one word, or by a product's own word.
_ALSO_SECRET: Final = frozenset(
    {"PGPASSWORD", "MYSQL_PWD", "SSHPASS", "GITHUB_PAT", "ARM_SAS_TOKEN", "CI_JOB_JWT", "SYSTEM_ACCESSTOKEN"}
    | {"AWS_SSE_CUSTOMER_KEY", "IDTOKEN", "INTERLOCK_NOTIFY_URL", "INTERLOCK_SEAL_KEY", "INTERLOCK_PLAN_KEY"}
    | {"INTERLOCK_AUDIT_KEY"}
)
_ALSO_ENDS: Final = ("_PASS", "_PWD", "_WEBHOOK", "_WEBHOOK_URL")
_IN_ADDRESS: Final = late(r"://[^\s/?#@:\"']{0,200}:([^\s/?#\"']{1,500})@")
_OF_A_HOST: Final = "TF_TOKEN_"


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """Texts that are secret wherever they occur. Make them with `know_secrets`."""

    copies: Secrets = NO_SECRETS
    words: re.Pattern[str] | None = field(default=None, repr=False)
    _texts: frozenset[str] = field(default=frozenset(), repr=False)
    _open: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._texts)

    def and_of(self, texts: Iterable[str]) -> KnownSecrets:
        """Return these and others."""
        more = frozenset(texts) - self._texts
        return know_secrets(self._texts, given=more, named=self._open) if more else self

    def hide(self, text: str) -> str:
        """Return a text with every known secret in it replaced."""
        shown = self.copies.without_copies(text)
        return shown if self.words is None else self.words.sub(MASK, shown)

    def hide_within(self, value: object) -> object:
        """Return a value, as JSON has it, with every known secret in its texts replaced."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {name: self.hide_within(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide_within(each) for each in value]
        return value


NO_KNOWN_SECRETS: Final = KnownSecrets()


def know_secrets(texts: Iterable[str], *, given: Iterable[str] = (), named: Iterable[str] = ()) -> KnownSecrets:
    """Return the secrets among texts that are worth hiding.

    Args:
        texts: Credentials.
        given: Values that may be secret; one that stands in `named` is not.
        named: What the command names openly, such as its state and folder.
    """
    shown = frozenset(named)
    unnamed = (each for each in given if not any(each.strip() in name for name in shown))
    found = frozenset(each for each in map(str.strip, (*texts, *unnamed)) if _is_worth_hiding(each))
    short = sorted(map(re.escape, (each for each in found if len(each) < MIN_COPY_CHARS)))
    words = re.compile(rf"(?<!\w)(?:{'|'.join(short)})(?!\w)") if short else None
    return KnownSecrets(gather_secrets(found), words, found, shown)


def _is_worth_hiding(text: str) -> bool:
    return len(text) >= MIN_KNOWN_CHARS and text.casefold() not in _COMMON


def environment_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of an environment that are secret by their names: OAuth secrets, tokens, keys of AWS.

    Of the other values, the passwords in addresses (`PG_CONN_STR`, proxies) and what they assign to a name of a secret,
    as OpenTofu's `TF_ENCRYPTION` and the JSON of a service account do.

    Values of `TF_VAR_` are not among them: the configuration says which of those are secret.
    """
    for name, value in environ.items():
        if name.startswith("TF_VAR_"):
            continue
        if name.startswith(_OF_A_HOST) or name in _ALSO_SECRET or name.endswith(_ALSO_ENDS) or sounds_secret(name):
            yield value
        yield from _within(value)


def _within(value: str) -> Iterator[str]:
    for password in _IN_ADDRESS.findall(value):
        yield from (password, unquote(password))
    yield from assigned_secrets(value)
