"""The API, or its login, cannot be reached, or the connection to it broke."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import TerraformFailed

_NEVER_CONNECTED: Final = words(
    r"no such host",
    r"server misbehaving",
    r"Temporary failure in name resolution",
    r"network is unreachable",
    r"no route to host",
    r"proxyconnect",
    r"connection refused",
    r"x509:",
    r"certificate (?:signed by unknown authority|has expired|is not trusted)",
    r"TLS handshake timeout",
    r"dial tcp .{0,120}i/o timeout",
    r"\btls: ",
    r"\bEAI_AGAIN\b",
    r"\bENOTFOUND\b",
    r"\bECONNREFUSED\b",
)


def _reach(facts: Facts) -> str:
    region = " (for Genesys Cloud also GENESYSCLOUD_REGION, which chooses the host)" if _is_genesys(facts) else ""
    return f"the network, proxy, DNS or address is at fault{region}: interlock doctor    from this very machine"


def _is_genesys(facts: Facts) -> bool:
    return facts.resource_type.startswith("genesyscloud") or not facts.resource_type


def _reach_before(facts: Facts) -> str:
    return f"nothing was changed; {_reach(facts)}    then run again"


def _reach_after(facts: Facts) -> str:
    return f"{_reach(facts)}    then make a new plan, and apply that"


def _broken(facts: Facts) -> str:
    what = f" ({facts.address})" if facts.address else ""
    return (
        f"make a new plan first: what was sent may have been done{what}; when the plan creates it again, look in the "
        "organisation and bring what is there into the state (import) instead of making it twice"
    )


RULE: Final = Rule(
    category=Category.NETWORK,
    meaning="the connection to the API broke",
    retry=Retry.AFTER_REPLAN,
    retry_before=Retry.SAFE,
    error=TerraformFailed,
    signs=(
        Sign(
            words=_NEVER_CONNECTED,
            meaning="the API or its login cannot be reached from here",
            retry=Retry.AFTER_REPLAN,
            retry_before=Retry.SAFE,
            advice=_reach_after,
            advice_before=_reach_before,
        ),
        Sign(
            words=words(
                r"unexpected EOF",
                r": EOF\b",
                r"connection reset",
                r"broken pipe",
                r"use of closed network connection",
                r"http2: ",
                r"stream error",
                r"server closed",
                r"socket hang up",
                r"\bECONNRESET\b",
            ),
        ),
    ),
    advice=_broken,
    advice_before=(
        "nothing was changed: run again; if it happens again, look at the network and proxy: interlock doctor"
    ),
)
