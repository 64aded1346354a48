"""A certificate for the simulated organisation: made at its start for loopback names, or given as files.

A hand: it draws a key and writes files. The certificate signs itself, so its file is also the one that clients are told
to trust (`SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`); the Go provider reads the first.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

LIFE_DAYS = 7  # longer than any test or demo, shorter than anybody would come to rely on
SKEW = timedelta(minutes=5)
_KEY_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Files with a certificate chain and its private key, PEM."""

    chain: Path
    key: Path


def make_certificate(folder: Path, now: datetime) -> Certificate:
    """Make a key and a certificate for `localhost`, `127.0.0.1` and `::1` that signs itself.

    Args:
        folder: Where the two files are written; it must exist.
        now: Aware UTC instant from which it is valid for a week.

    Raises:
        OSError: A file cannot be written.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    begins = now - SKEW
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Interlock's simulated organisation")])
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=LIFE_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pair = Certificate(chain=folder / "simulator.pem", key=folder / "simulator.key")
    pair.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.touch(mode=_KEY_MODE)
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair
