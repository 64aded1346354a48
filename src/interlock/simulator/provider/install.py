"""Puts the stand-in provider where Terraform finds it: an executable and a CLI configuration with `dev_overrides`.

With overrides no `terraform init` is needed for the provider, and no registry is asked.
"""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

SOURCE = "mypurecloud/genesyscloud"
_EXECUTABLE = "terraform-provider-genesyscloud"
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_CERTIFICATE_LIFE = timedelta(days=365 * 50)  # it only has to look valid to one parent process on this machine

_LAUNCHER = """#!/bin/sh
exec {python} {script}
"""
_SCRIPT = """import sys
sys.path[:0] = {paths!r}
from interlock.simulator.provider.provider import main
main(certificate={certificate!r}, key={key!r}, speed={speed!r})
"""


def install(directory: Path, *, speed: float = 1.0) -> Path:
    """Write executable, certificate and CLI configuration into `directory`.

    Args:
        directory: Private to the caller; made if missing.
        speed: The provider's fixed waits (10 s before queue members, …) are divided by it.

    Returns:
        The CLI configuration file, for `TF_CLI_CONFIG_FILE`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    write_certificate(certificate, key)
    script, launcher = directory / "plugin.py", directory / _EXECUTABLE
    script.write_text(
        _SCRIPT.format(paths=_import_paths(), certificate=str(certificate), key=str(key), speed=speed), encoding="utf-8"
    )
    launcher.write_text(
        _LAUNCHER.format(python=shlex.quote(sys.executable), script=shlex.quote(str(script))), encoding="utf-8"
    )
    launcher.chmod(0o700)
    configuration = directory / "terraform.rc"
    configuration.write_text(
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        f'  dev_overrides {{\n    "{SOURCE}" = "{directory}"\n  }}\n'
        "  direct {}\n"
        "}\n",
        encoding="utf-8",
    )
    return configuration


def _import_paths() -> list[str]:
    """Return where this package is imported from, for a Python that was started another way."""
    return [str(Path(__file__).resolve().parents[3])]


def write_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate for `localhost` and its private key, both PEM, for the TLS between Terraform and a plugin."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_EPOCH)
        .not_valid_after(_EPOCH + _CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
