"""Which backend a log speaks of, and what can be typed about a lock or a state there.

`interlock lock explain` and `interlock state` know some backends; for the others the cloud's own program is named,
since a command that ends in "this version does not know the backend" helps nobody.
Source: Terraform's internal/backend/remote-state (how each spells its errors, and where it keeps its lock).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from interlock.errors import THIS_STATE, command
from interlock.foreign_text import shell_word

KNOWN: Final = frozenset({"s3", "http", "local", "pg", "cloud", "remote", "azurerm", "gcs", "consul", "kubernetes"})
"""What Interlock itself can read; with nothing in the log that names another backend it is taken for one of these."""

_SPELLINGS: Final[Mapping[str, re.Pattern[str]]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "azurerm": r"state blob is already locked|LeaseAlreadyPresent|LeaseIdM|blob metadata|ContainerNotFound"
        r"|\.blob\.core\.|AADSTS\d|lock info from metadata|running Azure CLI|storage: service returned error"
        r"|AuthorizationPermissionMismatch|blobs\.Client#|containers\.Client#|\(blobs?\.",
        "gcs": r"gs://|googleapi: |storage\.NewClient|querying Cloud Storage|storage: (?:bucket|object) doesn't exist",
        "kubernetes": r"locked by another (?:terraform|tofu) client|secrets \"tfstate-|leases\.coordination\.k8s\.io"
        r"|lock-tfstate-",
        "consul": r"Consul|consul|lock is already held by|\.lockinfo|Lock Index",
        "cos": r"cos\.\S{1,60}\.myqcloud|tencentcos",
        "oss": r"aliyun|tablestore|\bOTS[A-Z]\w",
        "pg": r"pq: |Already locked for (?:state|workspace)|Workspace is already locked",
        "http": r"HTTP remote state|HTTP error: \d|Failed to (?:get|lock|unlock) state: (?:GET|POST|HTTP)",
        "s3": r"S3 [Bb]ackend|operation error (?:S3|DynamoDB)|DynamoDB|S3 bucket|NoSuchBucket|state data in S3",
        "cloud": r"workspace already locked|HCP Terraform|Terraform Cloud|app\.terraform\.io|Terraform Enterprise",
        "local": r"resource temporarily unavailable|another process has locked a "
        r"portion|\.terraform\.tfstate\.lock\.info",
    }.items()
}
_CONFIGURED: Final = re.compile(r'backend "(\w{1,30})"')


def backend_in(text: str) -> str:
    """Return Terraform's word for the backend that an error's text is about; empty when it does not tell."""
    return next((name for name, spelling in _SPELLINGS.items() if spelling.search(text)), "")


def backend_configured(text: str) -> str:
    """Return the backend that Terraform says it uses: `Successfully configured the backend "azurerm"!`."""
    found = _CONFIGURED.search(text)
    return found[1] if found else ("cloud" if "remote backend" in text or "HCP Terraform" in text else "")


def look_at_lock(backend: str, *, path: str = "", lock_id: str = "", tool: str = "terraform") -> str:
    """Return what to type to see whether a lock's holder is still at work, and to remove it when not."""
    if backend == "azurerm":
        return f"{command('lock', 'explain', THIS_STATE)}    by hand: {_lease(path)}"
    if backend == "gcs":
        url = shell_word(path if path.startswith("gs://") else "gs://BUCKET/PREFIX/default.tflock")
        by_hand = f"gsutil cat {url}    and when its Who is at work no more: gsutil rm {url}"
        return f"{command('lock', 'explain', THIS_STATE)}    by hand: {by_hand}"
    if backend in ("kubernetes", "consul"):
        look = "kubectl get leases" if backend == "kubernetes" else "consul kv get PATH/.lockinfo"
        by_hand = f"{look}    and when its holder is at work no more: {_force(tool, lock_id)}"
        return f"{command('lock', 'explain', THIS_STATE)}    by hand: {by_hand}"
    if backend in ("cloud", "remote"):
        return (
            f"{command('lock', 'explain', THIS_STATE)}    a workspace that a person or a run locked is unlocked on its "
            "page"
        )
    if backend in KNOWN or not backend:
        return command("lock", "explain", THIS_STATE)
    return f"ask whoever the lock names; when that run is gone: {_force(tool, lock_id)}"


def _lease(path: str) -> str:
    container, _, blob = path.partition("/")
    where = f"--account-name ACCOUNT --container-name {shell_word(container or 'CONTAINER')}"
    return (
        f"az storage blob show {where} --name {shell_word(blob or 'BLOB')} --query properties.lease    and when no run "
        f"is at work: az storage blob lease break {where} --blob-name {shell_word(blob or 'BLOB')}"
    )


def _force(tool: str, lock_id: str) -> str:
    return f"{tool} force-unlock {shell_word(lock_id or 'LOCK_ID')}"


def find_whole_version(backend: str) -> str:
    """Return what to type to find and bring back a whole version of a damaged state."""
    if backend in KNOWN or not backend:
        return (
            f"{command('state', 'verify', THIS_STATE)}    then, for the newest whole version: "
            f"{command('state', 'restore', THIS_STATE)}"
        )
    return (
        "look for an older copy of the state in the backend    and check it before it is pushed: "
        "interlock state verify FILE"
    )


_RENEW: Final[Mapping[str, str]] = {
    "s3": "aws sts get-caller-identity    shows whose credentials this step has",
    "azurerm": "az account show    shows who is logged in; with OIDC ask for the token right before the step",
    "gcs": "gcloud auth list    shows who is logged in; or GOOGLE_CREDENTIALS of this step",
    "cloud": "{tool} login    or TF_TOKEN_app_terraform_io in this step",
    "remote": "{tool} login    or TF_TOKEN_app_terraform_io in this step",
    "http": "TF_HTTP_USERNAME and TF_HTTP_PASSWORD of this step (on GitLab CI_JOB_TOKEN, or a token that may write)",
    "pg": "PG_CONN_STR of this step",
    "consul": "CONSUL_HTTP_TOKEN of this step",
    "kubernetes": "kubectl auth whoami    shows whose credentials this step has",
}


def renew_credentials(backend: str, tool: str) -> str:
    """Return how to look at the credentials that this backend uses; empty where nothing is known."""
    return _RENEW.get(backend, "").replace("{tool}", tool)
