"""The lock table and the state bucket of an S3 backend, as a configuration declares and uses them.

Knows: `backend "s3"`, aws_dynamodb_table, aws_s3_bucket and the resources beside it. Knows nothing of rules.
A table or bucket counts when a backend of the sources names it, or when its name says what it is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from interlock.hcl import Backend, Expression, Module, Resource, Scope, constant_text, references
from interlock.lint.rule import Sources

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_TERRAFORM = frozenset({"terraform", "tf", "tofu", "opentofu", "tfstate", "tflock", "tflocks", "tfstatelock"})
_LOCK = frozenset({"lock", "locks", "locking", "lockid", "tflock", "tflocks", "tfstatelock"})
_STATE = frozenset({"state", "states", "tfstate", "backend"})
_LOCK_KEY = "LockID"
_SPELLED = re.compile(r"(?:terraform|tofu|tf[-_.]?state)(?:[-_.]?state)?[-_.]?lock(?:s|ing)?(?![a-z])")
"""Names without borders between their words: `acmetfstatelocks`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A table or bucket with the module that declares it.

    `used` says that a backend names it; else only its name says what it is for.
    """

    module: Module
    resource: Resource
    used: bool

    @property
    def scope(self) -> Scope:
        """What is certain in its module."""
        return self.module.scope


def s3_backends(sources: Sources) -> Iterator[tuple[Module, Backend]]:
    """Yield the root modules that keep their state in S3, with the backend block."""
    for module in sources.modules:
        if module.backend is not None and module.backend.type == "s3":
            yield module, module.backend


def is_complete(backend: Backend) -> bool:
    """Say whether an S3 backend block is given whole; the rest of a partial one comes from `-backend-config`."""
    return "bucket" in backend.body.attributes and "key" in backend.body.attributes


def lock_tables(sources: Sources) -> Iterator[Found]:
    """Yield the DynamoDB tables that hold Terraform's locks."""
    used = _names(sources, "dynamodb_table") | _given(sources, "dynamodb_table")
    for module in sources.all_modules():
        beside = any(bucket.module is module for bucket in state_buckets(sources))
        for table in module.of_type("aws_dynamodb_table"):
            name = constant_text(table.body.get("name"), module.scope)
            words = _words(name or "", table.name)
            is_lock = bool(words & _LOCK and (beside or words & _TERRAFORM))
            is_lock = is_lock or bool(words & _TERRAFORM and words & _STATE)
            is_lock = is_lock or any(_SPELLED.search(one.lower()) for one in (name or "", table.name))
            key = constant_text(table.body.get("hash_key"), module.scope) or ""
            has_key = re.sub(r"[-_ ]", "", key).lower() == _LOCK_KEY.lower()
            if name in used or is_lock or has_key:
                yield Found(module=module, resource=table, used=name in used)


def state_buckets(sources: Sources) -> Iterator[Found]:
    """Yield the S3 buckets that hold Terraform's states."""
    used = _names(sources, "bucket")
    for module in sources.all_modules():
        for bucket in module.of_type("aws_s3_bucket"):
            name = constant_text(bucket.body.get("bucket"), module.scope)
            words = _words(name or "", bucket.name)
            is_state = "tfstate" in words or bool(words & _STATE and words & _TERRAFORM)
            if name in used or is_state:
                yield Found(module=module, resource=bucket, used=name in used)


def companions(found: Found, kind: str) -> tuple[tuple[Resource, ...], bool]:
    """Return the resources of one type that speak of a bucket, and whether some may do so that cannot be told.

    Args:
        found: The bucket.
        kind: Such as `aws_s3_bucket_versioning`.
    """
    name = constant_text(found.resource.body.get("bucket"), found.scope)
    ours: list[Resource] = []
    unclear = False
    for resource in found.module.of_type(kind):
        target = resource.body.get("bucket")
        named = {reference.target for reference in references(resource.body) if reference.path == "bucket"}
        if found.resource.key in named or (name is not None and constant_text(target, found.scope) == name):
            ours.append(resource)
        elif not any(other.startswith("aws_s3_bucket.") for other in named):
            unclear = unclear or constant_text(target, found.scope) is None
    return tuple(ours), unclear


def setting(found: Found, expression: Expression | None) -> str | None:
    """Return the certain text of an expression in the bucket's or table's module."""
    return constant_text(expression, found.scope)


def _names(sources: Sources, attribute: str) -> frozenset[str]:
    values = (constant_text(backend.body.get(attribute), module.scope) for module, backend in s3_backends(sources))
    return frozenset(value for value in values if value)


def _given(sources: Sources, attribute: str) -> frozenset[str]:
    """Return what pipelines give a partial backend: `-backend-config=dynamodb_table=NAME`."""
    flags = (
        flag.value or ""
        for workflow in sources.workflows
        for job in workflow.jobs
        for _, operation in job.operations()
        for flag in operation.flags
        if flag.name == "backend-config"
    )
    pairs = (value.strip("\"'").partition("=") for value in flags)
    return frozenset(value.strip("\"' ") for name, _, value in pairs if name.strip() == attribute and "$" not in value)


def _words(*names: str) -> frozenset[str]:
    return frozenset(word.lower() for name in names for word in _WORD.findall(name))
