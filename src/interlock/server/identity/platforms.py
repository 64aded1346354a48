"""What each CI system says of a job in its identity token, and what a rule about it must name; people too. Pure.

Sources: docs.github.com "OpenID Connect reference"; docs.gitlab.com "OpenID Connect (OIDC) authentication using ID
tokens"; sigstore/fulcio#1803 for the token of Azure DevOps; docs/facts/servers.md. Read from documents, not tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType

from msgspec import Struct


class Platform(Enum):
    """Whose identity tokens a rule is about."""

    GITHUB = "github"
    GITLAB = "gitlab"
    AZURE = "azure"
    AZURE_ENTRA = "azure-entra"
    PERSON = "person"
    OTHER = "other"


class PlatformFacts(Struct, frozen=True, kw_only=True):
    """What is known of one platform's identity tokens.

    Attributes:
        issuer: Who signs them; "" where it differs from customer to customer and each rule names it.
        audience: The audience that they have when nobody may choose it; "" where a job asks for our own address.
        needed: Claims that every rule names: ids, which are never given to another project.
        places: Claims of which a rule for writers names at least one: what protects the branch or the environment.
        claims: All claims that a rule may name; () for any but `NEVER`.
        event: The claim that says what started the job; "" where none does.
        usual: What may start a job of a writer without being named: nobody from outside can.
        example: Claims for a hint.
    """

    issuer: str = ""
    audience: str = ""
    needed: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    event: str = ""
    usual: frozenset[str] = frozenset()
    example: tuple[str, ...] = ()


AZURE_AUDIENCE = "api://AzureADTokenExchange"
"""What Azure DevOps writes as audience whatever a job asks for."""

VSTOKEN_ENDS_AT = datetime(2027, 7, 1, tzinfo=UTC)
"""When Azure DevOps retires the issuer vstoken.dev.azure.com."""

NEVER = frozenset({"sub", "aud", "iss", "exp", "nbf", "iat", "jti"})
"""Claims that no rule matches: a `sub` is made of names, and a name that is given up can be had by somebody else."""

NEVER_OF_PERSONS = frozenset({*(NEVER - {"sub"}), "email", "preferred_username", "upn", "name", "nickname"})
"""The same for people. Their `sub` is an id that their provider gives to nobody else; an address of mail is not."""

_GITHUB = PlatformFacts(
    issuer="https://token.actions.githubusercontent.com",
    needed=("repository_id",),
    places=("ref", "environment"),
    claims=(
        *("repository_id", "repository_owner_id", "ref", "ref_type", "environment", "event_name"),
        *("job_workflow_ref", "workflow_ref", "runner_environment"),
    ),
    event="event_name",
    usual=frozenset({"push", "schedule", "workflow_dispatch", "release"}),
    example=("repository_id=123456789", "ref=refs/heads/main", "event_name=push"),
)
_GITLAB = PlatformFacts(
    issuer="https://gitlab.com",
    needed=("project_id",),
    places=("ref_protected", "environment"),
    claims=(
        *("project_id", "namespace_id", "ref", "ref_type", "ref_protected", "environment", "environment_protected"),
        *("pipeline_source", "ci_config_ref_uri", "runner_environment"),
    ),
    event="pipeline_source",
    # Not `parent_pipeline`: the parent may be that of a merge request, and its child would not say so.
    usual=frozenset({"push", "schedule", "web", "api"}),
    example=("project_id=12345", "ref_protected=true"),
)
_AZURE = PlatformFacts(
    audience=AZURE_AUDIENCE,
    needed=("prj_id", "def_id"),
    places=("rpo_ref",),
    claims=("org_id", "prj_id", "def_id", "rpo_id", "rpo_ref"),
    example=("prj_id=PROJECT_UUID", "def_id=42", "rpo_ref=refs/heads/main"),
)
_AZURE_ENTRA = PlatformFacts(
    audience=AZURE_AUDIENCE,
    # Both are read from the end of `sub`, which holds ids there and nothing that can be renamed. The branch is not in
    # this token: the checks of the service connection guard it.
    needed=("organization_id", "service_connection_id"),
    places=("service_connection_id",),
    claims=("organization_id", "service_connection_id"),
    example=("organization_id=ORGANIZATION_UUID", "service_connection_id=CONNECTION_UUID"),
)

PLATFORMS: Mapping[Platform, PlatformFacts] = MappingProxyType(
    {
        Platform.GITHUB: _GITHUB,
        Platform.GITLAB: _GITLAB,
        Platform.AZURE: _AZURE,
        Platform.AZURE_ENTRA: _AZURE_ENTRA,
        Platform.PERSON: PlatformFacts(example=("groups=operators",)),
        Platform.OTHER: PlatformFacts(example=("repositoryUuid={UUID}", "branchName=main")),
    }
)
