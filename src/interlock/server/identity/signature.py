"""Whether an identity token is signed by who it says. Pure: the keys are given.

How tokens of others are taken for good is known, and each way is shut here: `alg: none`; a public key used as the
secret of HS256; a key that the token itself brings (`jwk`, `jku`, `x5u`) or names by a path; a header that changes what
is signed (`b64`, `crit`); a key of another kind than the algorithm's. Nothing of a token is believed before.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from interlock.bounded import read_json
from interlock.errors import THIS_STATE, AuthenticationFailed, command

TOKEN_CHARS_MAX = 16_384
"""GitHub's have 1,500. What is longer is not read."""
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z", re.ASCII)
_KID_CHARS_MAX = 256
_RSA_BITS_MIN = 2048
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_KINDS = {"R": "RSA", "P": "RSA", "ES": "EC", "Ed": "OKP"}


class Shown(Struct, frozen=True, kw_only=True):
    """What a token says of itself before anything is checked. Only good for finding out how to check it.

    Attributes:
        issuer: Who it says has signed it.
        key_id: Which key it says.
        text: The token. In no message.
    """

    issuer: str
    key_id: str
    text: str

    def __repr__(self) -> str:
        """Show it without the token."""
        return f"Shown({self.issuer!r})"

    @property
    def signed(self) -> bytes:
        """What was signed."""
        return self.text.rpartition(".")[0].encode()


class NotGenuine(AuthenticationFailed):
    """An identity token that is not what it says."""


def not_genuine(why: str) -> NotGenuine:
    """Say why an identity token is not taken."""
    fix = f"{command('ci', 'login', '--state', THIS_STATE)}    in a job of the pipeline"
    return NotGenuine("the identity token is not taken", why=why, fix=fix)


def read_shown(text: str) -> Shown:
    """Read what a token says of itself.

    Raises:
        NotGenuine: It is not a signed token, or its header asks for something that is not done here.
    """
    if len(text) > TOKEN_CHARS_MAX:
        raise not_genuine(f"it has more than {TOKEN_CHARS_MAX} characters")
    if not _SHAPE.match(text):
        raise not_genuine("it is not a signed JSON Web Token")
    head, body, _ = text.split(".")
    header, said = _object(head), _object(body)
    extras = {"crit", "b64"} & set(header)
    if extras:
        raise not_genuine(f"its header has {min(extras)}")
    issuer, key_id = said.get("iss"), header.get("kid")
    if not isinstance(issuer, str) or not isinstance(key_id, str) or not 0 < len(key_id) <= _KID_CHARS_MAX:
        raise not_genuine("it does not say who signed it with which key")
    return Shown(issuer=issuer, key_id=key_id, text=text)


def verified(shown: Shown, key: Mapping[str, Any], algorithms: Sequence[str]) -> Mapping[str, Any]:
    """Return what a token says, now that its signature was checked.

    Args:
        shown: The token.
        key: The issuer's public key of that name, as a JSON Web Key.
        algorithms: What the issuer signs with, by our configuration.

    Raises:
        NotGenuine: The signature is not by that key.
    """
    import jwt

    algorithm = _object(shown.text.partition(".")[0]).get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise not_genuine(f"it is not signed with {' or '.join(algorithms)}, which its issuer uses")
    if why := _key_fault(key, algorithm):
        raise not_genuine(why)
    try:
        public = jwt.PyJWK.from_dict(dict(key), algorithm=algorithm)
        if (getattr(public.key, "key_size", None) or _RSA_BITS_MIN) < _RSA_BITS_MIN and key.get("kty") == "RSA":
            raise not_genuine(f"the issuer's key has fewer than {_RSA_BITS_MIN} bits")
        payload = jwt.PyJWS(algorithms=[algorithm]).decode(shown.text, key=public, algorithms=[algorithm])
        said = read_json(payload)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise not_genuine("its signature is not that of its issuer") from error
    if not isinstance(said, dict):
        raise not_genuine("it holds no claims")
    return said


def _key_fault(key: Mapping[str, Any], algorithm: str) -> str:
    kind = _KINDS.get(algorithm[:2]) or _KINDS[algorithm[:1]]
    if key.get("kty") != kind or key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        return "the issuer's key of that name is for something else"
    if kind != "RSA" and key.get("crv") != _CURVES[algorithm]:
        return "the issuer's key of that name is on another curve"
    return ""


def _object(part: str) -> Mapping[str, Any]:
    try:
        found = read_json(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError) as error:
        raise not_genuine("it is not a signed JSON Web Token") from error
    if not isinstance(found, dict):
        raise not_genuine("it is not a signed JSON Web Token")
    return found
