"""Which CI servers may testify, and which of them may be sent a token. Pure.

The URL of a job comes from a lock, which anybody who may lock can write, or from a person, who copied it from
somewhere. A server that it names could say of any job that it is over, and so have a live lock broken; and asking it at
all is a request that somebody else chose. So only these are asked: the public services, the server of our own job, and
those that the operator names. All by https, where nobody on the way answers in their place; by http only this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from interlock.ci.job import JobReference
from interlock.trust.sending import find_origin

SERVERS = "INTERLOCK_CI_SERVERS"
"""Base URLs, separated by spaces, of further CI servers that may testify and be sent the environment's CI tokens."""
_PUBLIC = {"github": "https://github.com", "gitlab": "https://gitlab.com", "azure": "https://dev.azure.com"}
_OWN = {"github": "GITHUB_SERVER_URL", "gitlab": "CI_SERVER_URL", "azure": "SYSTEM_COLLECTIONURI"}
"""The variable in which a CI system tells its jobs where it is."""


def doubt(job: JobReference, environ: Mapping[str, str]) -> str:
    """Return why a job's server may not be asked about it; empty when it may."""
    origin = find_origin(job.server)
    if origin is None:
        return "its address cannot be read"
    if not origin.is_private:
        return f"{origin.url} does not speak https, so anybody on the way could answer"
    if not any(_is_below(job.url, base) for base in _known(job.system, environ)):
        return f"{origin.url} is neither a public service, nor our own job's server, nor named in {SERVERS}"
    return ""


def naming_command(job: JobReference, environ: Mapping[str, str]) -> str:
    """Return what an operator sets to let a job's server testify; empty when it could not even then."""
    origin = find_origin(job.server)
    if origin is None or not origin.is_private:
        return ""
    named = [*_named(environ), origin.url]
    return f'if that is your CI server: export {SERVERS}="{" ".join(named)}"'


def may_have_token(server: str, own: set[str], environ: Mapping[str, str]) -> bool:
    """Say whether our token may be sent to `server`: to one of our `own`, or one that the operator names."""
    named = {entry.rstrip("/") for entry in _named(environ)}
    return server.rstrip("/") in {entry.rstrip("/") for entry in own} | named


def find_base(job: JobReference, environ: Mapping[str, str]) -> str:
    """Return the base URL of a job's server with the path that it has there; empty when nobody says that it has one.

    An installation may be at https://git.example.com/gitlab; the URL of a job alone does not tell that from a project.
    """
    bases = [base.rstrip("/") for base in _known(job.system, environ) if _is_below(job.url, base)]
    longest = max(bases, key=len, default="")
    return longest if urlsplit(longest).path else ""


def _known(system: str, environ: Mapping[str, str]) -> Iterator[str]:
    for url in (_PUBLIC[system], environ.get(_OWN[system], ""), *_named(environ)):
        if find_origin(url) is not None:
            yield url


def _is_below(url: str, base: str) -> bool:
    """Say whether a URL is of a server: of its origin, and below its path. Beside that path others may answer."""
    if find_origin(url) is None or find_origin(url) != find_origin(base):
        return False
    path, above = urlsplit(url).path, urlsplit(base).path.rstrip("/")
    if not above:
        return True
    return path.startswith(f"{above}/") and not {".", ".."} & set(unquote(path).split("/"))


def _named(environ: Mapping[str, str]) -> list[str]:
    return environ.get(SERVERS, "").split()
