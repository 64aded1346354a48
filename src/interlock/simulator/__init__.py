"""A Genesys Cloud organisation that fits in a test: for demos, tests and benchmarks, never for production.

Faithful in the request sequences, errors and limits that facts about the real provider describe; see
docs/reference/simulator.md for what is covered.

Names load when they are first used: the stand-in provider lives below this package, Terraform starts it two or three
times per command, and it needs none of the simulation (80 ms each time).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import ApiRefusal, Json, Moment, Reply, Request
    from .audits import AuditTerms
    from .faults import FaultKind, FaultRule
    from .flows import FlowTerms
    from .limits import DEFAULT_LIMITS, Limit, Scope, WindowKind
    from .oauth import LoginLimit, OAuthClient
    from .org import Delays
    from .simulation import DEFAULT_CLIENT, Entry, Outcome, Simulation, Terms
else:
    _HOMES = {
        "answer": ("ApiRefusal", "Json", "Moment", "Reply", "Request"),
        "audits": ("AuditTerms",),
        "flows": ("FlowTerms",),
        "faults": ("FaultKind", "FaultRule"),
        "limits": ("DEFAULT_LIMITS", "Limit", "Scope", "WindowKind"),
        "oauth": ("LoginLimit", "OAuthClient"),
        "org": ("Delays",),
        "simulation": ("DEFAULT_CLIENT", "Entry", "Outcome", "Simulation", "Terms"),
    }
    _MODULES = {name: module for module, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(name)
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)


__all__ = [
    "DEFAULT_CLIENT",
    "DEFAULT_LIMITS",
    "ApiRefusal",
    "AuditTerms",
    "Delays",
    "Entry",
    "FaultKind",
    "FaultRule",
    "FlowTerms",
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
