"""What in a bucket or a table would lose states or locks, found before anything is changed. Pure.

`bootstrap aws` refuses to begin with any of them, because it would stop half-way or call unsafe what it made safe;
`doctor` names them. None is put right by us: they are somebody's rules.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_QUEUE = ".interlock/queue"  # an object of ours, for comparing
_UNREADABLE = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # an object there must be restored for hours before it is read
_DELETE = "s3:DeleteObject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The objects that Terraform and Interlock need in a bucket.

    Attributes:
        bucket: The bucket.
        key: The state's name, or `*` when it is not known.
        workspace_prefix: Before the names of workspaces.
        locks: Whether locks, or the queue, are objects of the bucket, which have to be deleted.
    """

    bucket: str
    key: str
    workspace_prefix: str
    locks: bool

    @property
    def states(self) -> tuple[str, ...]:
        """Names of state objects, one of a workspace for all of them."""
        return (self.key, f"{self.workspace_prefix}/x/{self.key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One rule that would do harm.

    Attributes:
        text: What it does.
        fix: What to do about it.
    """

    text: str
    fix: str


def find_hazards(
    objects: Objects,
    *,
    rules: tuple[Mapping[str, Any], ...],
    policy: Mapping[str, Any] | None,
    table: str | None,
    ttl_attribute: str,
    ttl_wanted: str,
) -> tuple[Hazard, ...]:
    """Return every hazard.

    Args:
        objects: What is needed.
        rules: The bucket's lifecycle rules.
        policy: The bucket's policy; None when it has none.
        table: The lock table; None without one.
        ttl_attribute: Attribute by which the table's items expire now; empty when they do not.
        ttl_wanted: The attribute that ours have.
    """
    found = [*_lifecycle(objects, rules), *_denials(objects, policy)]
    if table is not None and ttl_attribute not in ("", ttl_wanted):
        found.append(_other_ttl(table, ttl_attribute, ttl_wanted))
    return tuple(found)


def _lifecycle(objects: Objects, rules: tuple[Mapping[str, Any], ...]) -> Iterator[Hazard]:
    for rule in rules:
        if rule.get("Status") != "Enabled" or not _may_match(rule, objects):
            continue
        name = f'lifecycle rule "{rule.get("ID", "without a name")}" of bucket {objects.bucket}'
        fix = (
            f"limit that rule to other objects: aws s3api get-bucket-lifecycle-configuration --bucket {objects.bucket}"
        )
        expiration = rule.get("Expiration", {})
        if "Days" in expiration or "Date" in expiration:
            when = f"after {expiration['Days']} days" if "Days" in expiration else f"at {expiration['Date']}"
            text = f"{name} deletes current states {when}; the next plan would create everything again"
            yield Hazard(text=text, fix=fix)
        classes = {str(step.get("StorageClass")) for step in rule.get("Transitions", ())}
        if classes & _UNREADABLE:
            text = f"{name} moves current states to {min(classes & _UNREADABLE)}, where nothing reads them"
            yield Hazard(text=text, fix=fix)


def _may_match(rule: Mapping[str, Any], objects: Objects) -> bool:
    """Say whether a rule may be about states. Terraform sets no tags, so one that asks for a tag is not."""
    narrowed = rule.get("Filter", {})
    both = narrowed.get("And", {})
    if "Tag" in narrowed or both.get("Tags"):
        return False
    prefix = str(narrowed.get("Prefix") or both.get("Prefix") or rule.get("Prefix") or "")
    if objects.key == "*":
        return not prefix.startswith(".interlock")
    return any(name.startswith(prefix) for name in objects.states) or prefix.startswith(f"{objects.workspace_prefix}/")


def _denials(objects: Objects, policy: Mapping[str, Any] | None) -> Iterator[Hazard]:
    if not objects.locks:
        return
    for statement in _listed((policy or {}).get("Statement", [])):
        if statement.get("Effect") != "Deny" or statement.get("Condition") or not _denies_deletion(statement):
            continue
        locks = [name for name in (f"{objects.key}.tflock", _QUEUE) if _covers(statement, objects.bucket, name)]
        if locks:
            name = f'statement "{statement.get("Sid", "without a name")}" of the policy of bucket {objects.bucket}'
            yield Hazard(
                text=f"{name} denies {_DELETE} for {locks[0]}, so no lock could ever be given back",
                fix=f"except *.tflock and .interlock/* from it: aws s3api get-bucket-policy --bucket {objects.bucket}",
            )


def _denies_deletion(statement: Mapping[str, Any]) -> bool:
    if "NotAction" in statement:
        return not any(_matches(_DELETE, action) for action in _listed(statement["NotAction"]))
    return any(_matches(_DELETE, action) for action in _listed(statement.get("Action", [])))


def _covers(statement: Mapping[str, Any], bucket: str, name: str) -> bool:
    arn = f"arn:aws:s3:::{bucket}/{name}"
    if "NotResource" in statement:
        return not any(_matches(arn, pattern) for pattern in _listed(statement["NotResource"]))
    return any(_matches(arn, pattern) for pattern in _listed(statement.get("Resource", [])))


def _matches(text: str, pattern: object) -> bool:
    """Compare as IAM does: `*` and `?`, actions in any case."""
    return fnmatch.fnmatchcase(text.lower(), str(pattern).lower().replace("[", "[[]"))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _other_ttl(table: str, found: str, wanted: str) -> Hazard:
    off = (
        f"aws dynamodb update-time-to-live --table-name {table} "
        f"--time-to-live-specification Enabled=false,AttributeName={found}"
    )
    return Hazard(
        text=f"items of table {table} expire by the attribute {found}; a table has one such, and ours is {wanted}",
        fix=f"{off}    an hour later repeat this, or name another table: --table NAME",
    )
