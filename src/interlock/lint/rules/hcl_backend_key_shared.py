"""Two root modules that keep their states in one place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from interlock.hcl import Backend, Module, constant_text
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

_HOLE = re.compile(r"\$\w|%\w+%|\{\{|<\w|__\w+__|\bCHANGE_?ME\b|\bTODO\b", re.IGNORECASE)
"""A place that something fills in before Terraform reads the file: a template has no state of its own."""
_PLACES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "s3": (("bucket", "key"), ("workspace_key_prefix",)),
    "azurerm": (("storage_account_name", "container_name", "key"), ()),
    "gcs": (("bucket",), ("prefix",)),
    "http": (("address",), ()),
    "consul": (("path",), ("address",)),
    "pg": (("conn_str",), ("schema_name",)),
    "kubernetes": (("secret_suffix",), ("namespace",)),
    "oss": (("bucket",), ("prefix", "key")),
    "cos": (("bucket",), ("prefix", "key")),
}
"""What tells two states of one backend apart: arguments that must be set, and those that may be."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the backends of root modules whose place another one has already."""
    first: dict[tuple[str, ...], Module] = {}
    for module in sources.modules:
        backend = module.backend
        place = _place(module, backend) if backend is not None else None
        if backend is None or place is None:
            continue
        other = first.setdefault(place, module)
        if other is not module:
            yield RULE.finding(_span(backend), f'the state "{_label(place)}" is also that of {other.path}')


def _place(module: Module, backend: Backend) -> tuple[str, ...] | None:
    """Return what names the state, or None when part of it is not certain."""
    needed, optional = _PLACES.get(backend.type, ((), ()))
    values = [constant_text(backend.body.get(name), module.scope) for name in needed]
    given = [name for name in optional if name in backend.body.attributes]
    extra = [constant_text(backend.body.get(name), module.scope) for name in given]
    parts = [value for value in (*values, *extra) if value is not None]
    if not needed or len(parts) != len(values) + len(extra) or any(map(_HOLE.search, parts)):
        return None
    return (backend.type, *parts)


def _span(backend: Backend) -> Span:
    """Return the argument that names the state most closely."""
    needed = _PLACES[backend.type][0]
    return backend.body.attributes[needed[-1]].span


def _label(place: tuple[str, ...]) -> str:
    """Return the place for people; a connection string may carry a password, so it is not shown."""
    return "the same database" if place[0] == "pg" else "/".join(place[1:]).partition("?")[0].rpartition("@")[2]


RULE = Rule(
    name="backend-key-shared",
    severity=Severity.ERROR,
    subject=Subject.BACKEND,
    what="Two root modules have the same backend with the same bucket and key, address or path.",
    why=(
        "Each plans to destroy everything that the other one created, because it finds resources in its state that its "
        "configuration does not have. It usually comes from a copied folder."
    ),
    fix="give every root module a key of its own, such as its path in the repository",
    bad={
        "eu/main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-states"
    key          = "genesys.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}
""",
        "us/main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-states"
    key          = "genesys.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}
""",
    },
    good={
        "eu/main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-states"
    key          = "eu/genesys.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}
""",
        "us/main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-states"
    key          = "us/genesys.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}
""",
    },
    check=check,
)
