"""What each backend of Terraform is told, and where besides its block: variables, defaults, what is required.

Pure data. Source: Terraform 1.11.4, internal/backend/remote-state/*/backend.go; the S3 backend's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from interlock.late_pattern import late


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The settings of one backend type.

    Attributes:
        environment: Setting to the variables that give it when the configuration does not, the first set one wins.
        defaults: Setting to what holds when nothing gives it.
        required: Settings without which Terraform asks or fails.
        renamed: Old spellings that Terraform still accepts, to the present ones.
        ours: Settings that Terraform does not know, and the operator alone may give: they say where credentials go.
        tofus: Settings whose variables only OpenTofu reads.
    """

    environment: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    tofus: frozenset[str] = frozenset()


SECRETS: Final = frozenset(
    {
        "access_key",
        "secret_key",
        "token",
        "sse_customer_key",
        "password",
        "http_auth",
        "conn_str",
        "client_key",
        "client_private_key_pem",
        "client_secret",
        "client_certificate_password",
        "sas_token",
        "access_token",
        "credentials",
        "encryption_key",
        "web_identity_token",
        "assume_role_with_web_identity.web_identity_token",
    }
)
"""Settings that are never shown."""

_USERINFO: Final = late(r"://(?:[^/@:\s\"']*:)?([^/@\s\"']+)@")
_WITHIN: Final = late(
    rf"\b(?:{'|'.join(sorted(name.rpartition('.')[2] for name in SECRETS))})\"?\s*[=:]\s*\"([^\"]+)\""
)


def credentials_in(name: str, value: str) -> tuple[str, ...]:
    """Return the secret texts of a setting: all of it by its name, or what stands in an address or a map of it.

    A proxy's address may have a password, and `assume_role_with_web_identity` is given as a map.
    """
    if name in SECRETS:
        return (value,) if value else ()
    return (*_USERINFO.findall(value), *_WITHIN.findall(value))


def is_credential(name: str, value: str) -> bool:
    """Say whether a setting may not be shown or kept."""
    return bool(credentials_in(name, value))


_HTTP_OPTIONS = (
    "address",
    "update_method",
    "lock_address",
    "unlock_address",
    "lock_method",
    "unlock_method",
    "username",
    "password",
    "retry_max",
    "retry_wait_min",
    "retry_wait_max",
    "client_ca_certificate_pem",
    "client_certificate_pem",
    "client_private_key_pem",
)

VOCABULARIES: Final[Mapping[str, Vocabulary]] = {
    "s3": Vocabulary(
        environment={
            "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
            "profile": ("AWS_PROFILE",),
            "access_key": ("AWS_ACCESS_KEY_ID",),
            "secret_key": ("AWS_SECRET_ACCESS_KEY",),
            "token": ("AWS_SESSION_TOKEN",),
            "sse_customer_key": ("AWS_SSE_CUSTOMER_KEY",),
            "endpoints.s3": ("AWS_ENDPOINT_URL_S3", "AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL"),
            "endpoints.dynamodb": ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_DYNAMODB_ENDPOINT", "AWS_ENDPOINT_URL"),
            "endpoints.sts": ("AWS_ENDPOINT_URL_STS", "AWS_STS_ENDPOINT", "AWS_ENDPOINT_URL"),
            "custom_ca_bundle": ("AWS_CA_BUNDLE",),
        },
        defaults={"workspace_key_prefix": "env:"},
        required=("bucket", "key", "region"),
        renamed={
            "endpoint": "endpoints.s3",
            "dynamodb_endpoint": "endpoints.dynamodb",
            "sts_endpoint": "endpoints.sts",
            "force_path_style": "use_path_style",
            "role_arn": "assume_role.role_arn",
            "session_name": "assume_role.session_name",
            "external_id": "assume_role.external_id",
            "assume_role_duration_seconds": "assume_role.duration",
        },
    ),
    "local": Vocabulary(defaults={"path": "terraform.tfstate", "workspace_dir": "terraform.tfstate.d"}),
    "pg": Vocabulary(
        environment={
            "conn_str": ("PG_CONN_STR",),
            "schema_name": ("PG_SCHEMA_NAME",),
            "table_name": ("PG_TABLE_NAME",),
        },
        defaults={"schema_name": "terraform_remote_state"},
        tofus=frozenset({"table_name"}),
    ),
    "gcs": Vocabulary(
        environment={
            "credentials": ("GOOGLE_BACKEND_CREDENTIALS", "GOOGLE_CREDENTIALS"),
            "access_token": ("GOOGLE_OAUTH_ACCESS_TOKEN",),
            "impersonate_service_account": (
                "GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT",
                "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT",
            ),
            "encryption_key": ("GOOGLE_ENCRYPTION_KEY",),
            "kms_encryption_key": ("GOOGLE_KMS_ENCRYPTION_KEY",),
            "storage_custom_endpoint": (
                "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT",
                "GOOGLE_STORAGE_CUSTOM_ENDPOINT",
            ),
        },
        required=("bucket",),
    ),
    "azurerm": Vocabulary(
        environment={
            "access_key": ("ARM_ACCESS_KEY",),
            "sas_token": ("ARM_SAS_TOKEN",),
            "client_id": ("ARM_CLIENT_ID",),
            "client_secret": ("ARM_CLIENT_SECRET",),
            "tenant_id": ("ARM_TENANT_ID",),
            "environment": ("ARM_ENVIRONMENT",),
            "blob_endpoint": ("INTERLOCK_AZURE_BLOB_ENDPOINT",),
        },
        defaults={"environment": "public"},
        ours=frozenset({"blob_endpoint"}),
        required=("storage_account_name", "container_name", "key"),
    ),
    "consul": Vocabulary(
        environment={
            "address": ("CONSUL_HTTP_ADDR",),
            "access_token": ("CONSUL_HTTP_TOKEN",),
            "token_file": ("CONSUL_HTTP_TOKEN_FILE",),
            "http_auth": ("CONSUL_HTTP_AUTH",),
            "ssl": ("CONSUL_HTTP_SSL",),
            "ssl_verify": ("CONSUL_HTTP_SSL_VERIFY",),
            "ca_file": ("CONSUL_CACERT",),
            "cert_file": ("CONSUL_CLIENT_CERT",),
            "key_file": ("CONSUL_CLIENT_KEY",),
            "namespace": ("CONSUL_NAMESPACE",),
            "partition": ("CONSUL_PARTITION",),
        },
        ours=frozenset({"token_file", "ssl", "ssl_verify", "namespace", "partition"}),
        required=("path",),
    ),
    "kubernetes": Vocabulary(
        environment={
            "namespace": ("KUBE_NAMESPACE",),
            "in_cluster_config": ("KUBE_IN_CLUSTER_CONFIG",),
            "host": ("KUBE_HOST",),
            "username": ("KUBE_USER",),
            "password": ("KUBE_PASSWORD",),
            "insecure": ("KUBE_INSECURE",),
            "client_certificate": ("KUBE_CLIENT_CERT_DATA",),
            "client_key": ("KUBE_CLIENT_KEY_DATA",),
            "cluster_ca_certificate": ("KUBE_CLUSTER_CA_CERT_DATA",),
            "config_path": ("KUBE_CONFIG_PATH",),
            "config_paths": ("KUBE_CONFIG_PATHS",),
            "config_context": ("KUBE_CTX",),
            "config_context_auth_info": ("KUBE_CTX_AUTH_INFO",),
            "config_context_cluster": ("KUBE_CTX_CLUSTER",),
            "token": ("KUBE_TOKEN",),
            "proxy_url": ("KUBE_PROXY_URL",),
        },
        defaults={"namespace": "default"},
        required=("secret_suffix",),
    ),
    "http": Vocabulary(
        environment={option: (f"TF_HTTP_{option.upper()}",) for option in _HTTP_OPTIONS},
        defaults={"update_method": "POST", "lock_method": "LOCK", "unlock_method": "UNLOCK"},
        required=("address",),
    ),
    "cloud": Vocabulary(
        environment={
            "hostname": ("TF_CLOUD_HOSTNAME",),
            "organization": ("TF_CLOUD_ORGANIZATION",),
            "workspaces.name": ("TF_WORKSPACE",),
            "workspaces.project": ("TF_CLOUD_PROJECT",),
        },
        defaults={"hostname": "app.terraform.io"},
        required=("organization",),
    ),
    "remote": Vocabulary(defaults={"hostname": "app.terraform.io"}, required=("organization",)),
}
UNKNOWN: Final = Vocabulary()
