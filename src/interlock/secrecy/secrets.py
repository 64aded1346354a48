"""Texts that are secret anywhere, and how they are found again: whole, inside of longer texts, and spelled otherwise.

The rule for copies: a secret of at least `MIN_COPY_CHARS` characters is hidden wherever it occurs, also when it was
escaped for JSON or a URL or encoded as base64. A shorter one, or an everyday word, is hidden in its own place only:
hunting `1` or `true` would blank the page.

Pure. Knows nothing of states and plans.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

from interlock.late_pattern import late

MASK: Final = "(sensitive)"
MIN_COPY_CHARS: Final = 6
_MIN_LINE_CHARS: Final = 16  # of one line of a long secret; shorter lines are brackets and headings
_MIN_ENCODED_CHARS: Final = 8
_PERCENT: Final = late("%[0-9A-F]{2}")
_EVERYDAY: Final = frozenset(
    {"default", "enabled", "disabled", "unknown", "string", "number", "managed", "(sensitive)"}
)

# Word parts are matched whole, so that `token_url`, `key_name` or `secretary` are not hidden.
_SECRET_NAME: Final = late(
    r"(?:\A|[_\-.])(?:password|passwd|passphrase|passcode|secret|secrets|token|tokens|credential|credentials|"
    r"private[_\-]?key|api[_\-]?key|access[_\-]?key|signing[_\-]?key|encryption[_\-]?key|client[_\-]?secret|"
    r"connection[_\-]?string|certificate[_\-]?pem|authorization|cookie|kube[_\-]?(?:admin[_\-]?)?config|plaintext)"
    r"(?:\Z|[_\-.](?:value|text|base64|pem|hash|string|binary|data|raw|json|plaintext|wo)\Z)",
    re.IGNORECASE,
)
_GITHUB: Final = late("gh[pousr]_")
_MIN_TOKEN_CHARS: Final = 15
_NAME_PARTS: Final = (
    *("key", "token", "secret", "passw", "passphrase", "passcode", "credential", "connection", "certificate"),
    *("authorization", "cookie", "kube", "plaintext"),
)
_SHORTS_KEPT: Final = 10_000
_HUMP: Final = late(r"(?<=[a-z])(?=[A-Z])")
_PRIVATE: Final = late(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\bclient-(?:key|certificate)-data\b", re.MULTILINE
)
# Each begins at a place where no such text can begin within itself, so that hostile text costs linear time.
_JWT: Final = late(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_USERINFO: Final = late(r"(?<=://)([^\s/?#@:\"']{0,200}):[^\s/?#\"']{1,500}@")
_BEARER: Final = late(r"\b(Bearer|Basic|token)( +)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_SIGNS: Final = late(r"-----BEGIN|client-|eyJ|ilk_|gh[pousr]_|github_pat_|glpat-|xox|hvs\.|sk_live_|AIza")
_TOKEN_SHAPE: Final = late(
    r"\b(?:ilk_[0-9a-z]{12}_[\w-]{43}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|"
    r"xox[abprs]-[\w-]{10,}|hvs\.[\w-]{20,}|sk_live_\w{16,}|AIza[\w-]{30,})"
)
# `password = "x"`, `"token": "x"`, `\"secret\":\"x\"`, `X-Api-Key: x`: a name, a sign between, a value. Each name is
# looked at once (it begins after no part of a name, and gives nothing back), so that hostile text costs linear time.
_ASSIGNED: Final = late(
    r"""(?<![\w.-])([A-Za-z_][\w.-]*+)(\\{0,3}["']?\s{0,3}(?::=|=>|=|:)\s{0,3})"""
    r"""("(?:[^"\\]|\\.)*+(?:"|\Z)|'[^']*+(?:'|\Z)|(\\{1,3}")[^"\\]*+\4?|"""
    r"""(?:(?:Bearer|Basic|Digest|Token)\s+)?[^\s"',;\\&]+)""",
    re.IGNORECASE,
)
_MIN_PROSE_CHARS: Final = 6  # of a value after a colon: `token: no` is a sentence
_PAIR: Final = late(
    r"""(\\{0,3}"(?:name|key)\\{0,3}"\s{0,3}[:=]\s{0,3}\\{0,3}")([\w.-]{1,200})(\\{0,3}",?\s{0,3}\\{0,3}"?value\\{0,3}"?\s{0,3}[:=]\s{0,3}\\{0,3}")"""
    r"""[^"\\]*+""",
    re.IGNORECASE,
)
_KEY_LINE: Final = late(r"^[\s│|]*[A-Za-z0-9+/=]{60,76}[ \t]*$", re.MULTILINE)  # of a private key that a log quotes


def may_name_secrets(written: str) -> bool:
    """Whether a name in a JSON text may sound secret. Quick, and never False where `sounds_secret` says otherwise."""
    lower = written.lower()
    return "\\" in written or any(part in lower for part in _NAME_PARTS)


@lru_cache(maxsize=4096)
def sounds_secret(name: str) -> bool:
    """Whether a field or a header of this name usually holds a secret."""
    return _SECRET_NAME.search(_HUMP.sub("_", name)) is not None


def hide_shapes(text: str) -> str:
    """Hide what is a secret by its looks: private keys, kubeconfigs, JSON web tokens, passwords in URLs, tokens."""
    if ("-----BEGIN" in text or "client-" in text) and _PRIVATE.search(text):
        return MASK
    text = _JWT.sub(MASK, text) if "eyJ" in text else text
    text = _USERINFO.sub(rf"\1:{MASK}@", text) if "://" in text else text
    text = _BEARER.sub(rf"\1\2{MASK}", text) if " " in text and _has_scheme(text.lower()) else text
    return _TOKEN_SHAPE.sub(MASK, text) if _has_token_sign(text) else text


def may_look_secret(written: str) -> bool:
    """Whether JSON may hold a text that `hide_shapes` hides as a whole. Quick, and never False where it does."""
    return "\\u" in written or _SIGNS.search(written) is not None


def _has_scheme(lower: str) -> bool:
    return "bearer " in lower or "basic " in lower or "token " in lower


def _has_token_sign(text: str) -> bool:
    """Whether a token may be there. A state has a hundred thousand short texts, and a search by pattern costs more."""
    return len(text) >= _MIN_TOKEN_CHARS and (
        ("gh" in text and ("github_pat_" in text or _GITHUB.search(text) is not None))
        or "glpat-" in text
        or "xox" in text
        or "hvs." in text
        or "sk_live_" in text
        or "AIza" in text
    )


def hide_quoted(text: str) -> str:
    """Hide the secrets in a text that others wrote, such as a line of a log: by their looks, and by their names.

    `password = "x"` keeps the name. When in doubt the value is hidden: `invalid token: expired` is shown without its
    last word.
    """
    text = _KEY_LINE.sub(MASK, hide_shapes(text))
    text = _PAIR.sub(
        lambda found: f"{found[1]}{found[2]}{found[3]}{MASK}" if sounds_secret(found[2]) else found[0], text
    )
    return _ASSIGNED.sub(_without_value, text)


def assigned_secrets(text: str) -> Iterator[str]:
    """Yield the values that a text assigns to names of secrets: `passphrase = "x"`, `"client_secret": "x"`, `pwd=x`."""
    for found in _ASSIGNED.finditer(text):
        value, opening = found[3], found[4] or (found[3][0] if found[3][0] in "\"'" else "")
        if sounds_secret(found[1]) and (opening or "=" in found[2]):
            yield value.removeprefix(opening).removesuffix(opening) if opening else value


def _without_value(found: re.Match[str]) -> str:
    name, sign, value = found[1], found[2], found[3]
    opening = found[4] or (value[0] if value[0] in "\"'" else "")
    is_prose = not opening and "=" not in sign and len(value) < _MIN_PROSE_CHARS
    if is_prose or value.startswith(MASK) or not sounds_secret(name):
        return found[0]
    closing = opening if len(value) > len(opening) and value.endswith(opening) else ""
    return f"{name}{sign}{opening}{MASK}{closing}"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Texts that are not to be shown. Make them with `gather_secrets`.

    Attributes:
        texts: All of them, in all their spellings.
        lengths: Their first characters to the lengths that they have, the longest first.
        likely: Where one may begin.
    """

    texts: frozenset[str] = field(default=frozenset(), repr=False)
    lengths: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    likely: re.Pattern[str] | None = field(default=None, repr=False)
    _shorts: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __contains__(self, text: str) -> bool:
        """Whether the whole text is a secret."""
        return text in self.texts

    def hide(self, text: str, mask: str = MASK) -> str:
        """Return a text with every secret in it replaced, and what is one by its looks."""
        shown = hide_shapes(self.without_copies(text, mask))
        return shown if mask is MASK or shown is text else shown.replace(MASK, mask)

    def is_clear(self, written: str) -> bool:
        """Whether nothing in a JSON text has to be hidden, wherever its values end. False where escapes may hide it."""
        return "\\" not in written and self.hide(written) == written

    def hide_short(self, name: str) -> str:
        """Return a short text as `hide` does; a state has the same ones many times."""
        shown = self._shorts.get(name)
        if shown is None:
            shown = self.hide(name)
            if len(self._shorts) < _SHORTS_KEPT:
                self._shorts[name] = shown
        return shown

    def without_copies(self, text: str, mask: str = MASK) -> str:
        """Return a text with every secret in it replaced, and nothing else."""
        if self.likely is None or len(text) < MIN_COPY_CHARS:
            return text
        parts: list[str] = []
        shown = 0
        near = self.likely.search(text)
        while near is not None:
            at = end = near.start()
            for length in self.lengths.get(near[0], ()):
                if text[at : at + length] in self.texts:
                    end = at + length
                    parts += (text[shown:at], mask)
                    shown = end
                    break
            near = self.likely.search(text, max(end, at + 1))
        return "".join((*parts, text[shown:])) if parts else text


NO_SECRETS: Final = Secrets()


def gather_secrets(texts: Iterable[str]) -> Secrets:
    """Return the secrets among these texts that are long enough to be looked for, in all their spellings."""
    spelled = {each for text in set(texts) for each in _spellings(text) if len(each) >= MIN_COPY_CHARS}
    lengths: dict[str, set[int]] = {}
    for text in spelled:
        lengths.setdefault(text[:MIN_COPY_CHARS], set()).add(len(text))
    # The longest first, so that none leaves a rest. By length and not one by one: a thousand may begin alike.
    by_head = {head: tuple(sorted(found, reverse=True)) for head, found in lengths.items()}
    return Secrets(frozenset(spelled), by_head, _likely(by_head))


def _likely(heads: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that passes over most places where no secret begins: at each of six places, its characters."""
    columns = [sorted(set(column)) for column in zip(*heads, strict=True)]
    if not columns:
        return None
    return re.compile("".join(f"[{''.join(map(re.escape, column))}]" for column in columns), re.DOTALL)


def _spellings(text: str) -> Iterator[str]:
    for each in {text, text.strip(), *_lines(text)}:
        if len(each) < MIN_COPY_CHARS or each.casefold() in _EVERYDAY:
            continue
        yield each
        for ascii_only in (True, False):
            once = json.dumps(each, ensure_ascii=ascii_only)[1:-1]
            yield once
            yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]  # JSON within JSON
        yield once.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # as Go writes it
        yield once.replace("/", "\\/")  # as PHP writes it
        yield from _in_html(each)
        try:
            plain = each.encode()
        except UnicodeEncodeError:  # half of a character
            continue
        for address in (quote(each, safe=""), quote(each), quote_plus(each)):
            yield from (address, _PERCENT.sub(lambda code: code[0].lower(), address))
        yield from _encoded(plain)
        yield from _in_base64_lines(plain)
        yield from (plain.hex(), plain.hex().upper())


def _in_html(text: str) -> Iterator[str]:
    """Yield a text as error pages of servers quote it."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in (("&#34;", "&#39;"), ("&quot;", "&#39;"), ("&quot;", "&#x27;"), ('"', "'")):
        yield plain.replace('"', double).replace("'", single)


def _in_base64_lines(plain: bytes) -> Iterator[str]:
    """Yield the lines of a text's base64, as `base64`, `openssl` and MIME divide it."""
    text = base64.b64encode(plain).decode()
    for width in (64, 76):
        parts = [text[at : at + width] for at in range(0, len(text), width)] if len(text) > width else []
        yield from (part for part in parts if len(part) >= _MIN_LINE_CHARS)


def _lines(text: str) -> list[str]:
    if "\n" not in text:
        return []
    return [line.strip() for line in text.splitlines() if len(line.strip()) >= _MIN_LINE_CHARS]


def _encoded(plain: bytes) -> Iterator[str]:
    """Yield base64 of a text, also in the middle of a longer one: whole groups at each of three offsets."""
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + plain).decode()
        # The characters that also hold bits of a neighbour are left out; the others are the same wherever it stands.
        whole = text.rstrip("=")[(0, 2, 3)[offset] :]
        whole = whole if (offset + len(plain)) % 3 == 0 else whole[:-1]
        if len(whole) >= _MIN_ENCODED_CHARS:
            yield whole
            yield whole.replace("+", "-").replace("/", "_")
