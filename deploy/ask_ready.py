"""Exit with 0 when the server in this container takes requests: `python -I ask_ready.py [PORT]`.

It asks in clear first and by TLS then, since it does not know how the server was started.
"""

import http.client
import ssl
import sys

TIMEOUT_S = 2.0


def asked(port: int, *, tls: bool) -> int | None:
    """Ask once, on loopback; return the status, or None when nobody who speaks so is there."""
    # The certificate is of another name than 127.0.0.1, and nothing secret is sent.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    )
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_ready(port: int) -> bool:
    """Say whether the server takes requests."""
    status = asked(port, tls=False)
    if status is None:
        status = asked(port, tls=True)
    return status == http.HTTPStatus.OK


if __name__ == "__main__":
    sys.exit(not is_ready(int(sys.argv[1]) if len(sys.argv) > 1 else 8650))
