"""Organisations as both ends of the API spell them. Pure. No answer has a secret of an OAuth client."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct


class ToldOrganisation(Struct, frozen=True, kw_only=True):
    """An organisation, without its secret.

    Attributes:
        name: As the operator calls it.
        region: Of Genesys Cloud.
        client_id: Of its OAuth client.
        states: Globs of the states that belong to it.
        made_by: Who added it.
        made_at: When.
        rotated_at: When its client was last replaced; None for never.
    """

    name: str
    region: str
    client_id: str
    states: list[str]
    made_by: str
    made_at: datetime
    rotated_at: datetime | None = None


class ToldOrganisations(Struct, frozen=True, kw_only=True):
    """All organisations.

    Attributes:
        organisations: By name.
    """

    organisations: list[ToldOrganisation]


class NewOrganisation(Struct, frozen=True, kw_only=True):
    """What an administrator sends.

    Attributes:
        name: Lower-case letters, digits, dots, dashes and underscores.
        region: Of Genesys Cloud.
        client_id: Of its OAuth client.
        secret: Of its OAuth client.
        states: Globs of the states that belong to it.
        budgets: Limits of your own, such as `token=300/60s`.
    """

    name: str
    region: str
    client_id: str
    secret: str
    states: list[str]
    budgets: list[str] = []

    def __repr__(self) -> str:
        """Hide the secret."""
        return "NewOrganisation()"


class NewClient(Struct, frozen=True, kw_only=True):
    """What replaces an OAuth client.

    Attributes:
        secret: The new secret.
        client_id: The new client; empty for the same.
    """

    secret: str
    client_id: str = ""

    def __repr__(self) -> str:
        """Hide the secret."""
        return "NewClient()"


class ToldGateway(Struct, frozen=True, kw_only=True):
    """Whether a state's runs go through the server's gateway.

    Attributes:
        organisation: Its name; empty when the state belongs to none.
        region: Of Genesys Cloud; empty likewise.
    """

    organisation: str = ""
    region: str = ""


class AskedPlaceholder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for a way to the API for a run that holds its state.

    Attributes:
        ticket: Of the run.
        token: Its fencing token.
        share: Of each API budget that policies beside the run allow it, such as 0.3; the server's own count too, and
            the smallest share holds. None for no such policy.
        policy: Which of them says so.
    """

    ticket: str
    token: int
    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    policy: Annotated[str, Meta(max_length=60)] = ""


class Placeholder(Struct, frozen=True, kw_only=True):
    """A way to the API, good while the run holds its state under this grant.

    Attributes:
        organisation: Its name.
        region: Of Genesys Cloud.
        path: Below the server's address, in front of `/api/v2/...` and `/oauth/token`. A secret.
        client_id: The OAuth client to show.
        secret: Its secret.
        reads_only: Whether what changes something is refused: the run holds to plan.
    """

    organisation: str
    region: str
    path: str
    client_id: str
    secret: str
    reads_only: bool

    def __repr__(self) -> str:
        """Hide the secret."""
        return "Placeholder()"
