"""A Genesys Cloud organisation that fits in a test: for demos, tests and benchmarks, never for production.

Faithful in the request sequences, errors and limits that facts about the real provider describe; see
docs/reference/simulator.md for what is covered.
"""

from .answer import ApiRefusal, Json, Moment, Reply, Request
from .faults import FaultKind, FaultRule
from .limits import DEFAULT_LIMITS, Limit, Scope, WindowKind
from .oauth import LoginLimit, OAuthClient
from .org import Delays
from .simulation import DEFAULT_CLIENT, Entry, Outcome, Simulation, Terms

__all__ = [
    "DEFAULT_CLIENT",
    "DEFAULT_LIMITS",
    "ApiRefusal",
    "Delays",
    "Entry",
    "FaultKind",
    "FaultRule",
    "Json",
    "Limit",
    "LoginLimit",
    "Moment",
    "OAuthClient",
    "Outcome",
    "Reply",
    "Request",
    "Scope",
    "Simulation",
    "Terms",
    "WindowKind",
]
