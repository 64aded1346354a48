"""A request handler of `http.server` that sends the headers and the body of an answer together. A hand: it serves."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


class OnePieceHandler(BaseHTTPRequestHandler):
    """Buffers an answer until it is whole.

    Terraform 1.11 closes a connection to DynamoDB whose headers come alone and repeats the request. A lock that was
    taken by the first one is then in the way of the second: "Error acquiring the state lock", once in some hundred
    runs on a busy machine.
    """

    wbufsize = -1

    def handle_expect_100(self) -> bool:
        """Tell the client at once to go on: it sends the body only after that, or after a second."""
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on
