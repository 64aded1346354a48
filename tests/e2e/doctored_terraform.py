"""A Terraform whose way to its state is doctored: started in place of the real one, as `--terraform`.

For `apply` it puts a proxy between Terraform and its backend. What the proxy does to a POST is in DOCTOR:
`fail` answers 403; `drop` takes the resource named `kept` out of the state; `drop-all` also out of errored.tfstate.
"""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path

from interlock.testing.one_piece import OnePieceHandler

WAY = os.environ["DOCTOR"]
TARGET = os.environ.get("TF_HTTP_ADDRESS", "")


def dropped(body: bytes) -> bytes:
    document = json.loads(body)
    document["resources"] = [resource for resource in document["resources"] if resource["name"] != "kept"]
    return json.dumps(document).encode()


class Proxy(OnePieceHandler):
    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        if self.command == "POST" and WAY == "fail":
            self.answer(403, b"doctored")
            return
        if self.command == "POST" and body is not None:
            body = dropped(body)
        query = self.path.partition("?")[2]
        url = TARGET + (f"?{query}" if query else "")
        request = urllib.request.Request(url, data=body, method=self.command)
        try:
            with urllib.request.urlopen(request) as reply:
                self.answer(reply.status, reply.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


for method in ("GET", "POST", "DELETE", "LOCK", "UNLOCK"):
    setattr(Proxy, f"do_{method}", Proxy.pass_on)


def main() -> int:
    words = sys.argv[1:]
    environ = dict(os.environ)
    if "apply" in words:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/state"
        environ |= {f"TF_HTTP_{name}": address for name in ("ADDRESS", "LOCK_ADDRESS", "UNLOCK_ADDRESS")}
    code = subprocess.run(["terraform", *words], env=environ, check=False).returncode
    if WAY == "drop-all" and "apply" in words:
        folder = next(word.partition("=")[2] for word in words if word.startswith("-chdir="))
        errored = Path(folder) / "errored.tfstate"
        errored.write_bytes(dropped(errored.read_bytes()))
    return code


sys.exit(main())
