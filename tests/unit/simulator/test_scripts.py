from typing import Any

import pytest

from interlock.simulator import Reply, Request

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="scriptName"\r\n\r\nGreeting\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="s.json"\r\n\r\n{"pages": []}\r\n--b--\r\n'
)


def upload(
    api: Any, body: bytes = FORM, kind: str = "multipart/form-data; boundary=b", token: str | None = None
) -> Reply:
    api.login()
    headers = {"authorization": f"Bearer {api.token if token is None else token}", "content-type": kind}
    request = Request(method="POST", path="/uploads/v2/scripter", headers=headers, body=body)
    reply: Reply = api.simulation.handle(request, api.moment).reply
    return reply


def test_a_script_is_uploaded_past_the_api_and_found_by_name(api: Any) -> None:
    identifier = upload(api).content["correlationId"]
    assert api.get(f"/scripts/uploads/{identifier}/status")["succeeded"] is True
    script = api.get("/scripts", name="Greeting")["entities"][0]
    address = api.post(f"/scripts/{script['id']}/export", {})["url"]
    fetched = api.simulation.handle(Request(method="GET", path=address.partition(":1")[2]), api.moment).reply
    assert fetched.content == b'{"pages": []}'
    assert api.post("/scripts/published", {"scriptId": script["id"]})["published"] is True
    upload(api)
    assert (api.get("/scripts")["total"], api.get("/scripts/published")["total"]) == (1, 0)
    named = b'--b\r\nContent-Disposition: form-data; name="scriptIdToReplace"\r\n\r\n'
    upload(api, named + script["id"].encode() + b"\r\n" + FORM.replace(b"Greeting", b"Welcome"))
    assert [each["name"] for each in api.get("/scripts")["entities"]] == ["Welcome"]
    assert upload(api, named + b"nobody\r\n" + FORM).status == 404
    assert api.send("DELETE", f"/scripts/{script['id']}").status == 200  # the provider takes 204 for a failure
    assert api.send("GET", f"/scripts/{script['id']}").status == 404


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (FORM, "application/json"),
        (b"", "multipart/form-data; boundary=b"),
        (FORM, "multipart/form-data; boundary=c"),
        (FORM.replace(b"scriptName", b"other"), "multipart/form-data; boundary=b"),
    ],
)
def test_a_wrong_form_is_a_400_and_stores_nothing(api: Any, body: bytes, kind: str) -> None:
    assert upload(api, body, kind).status == 400
    assert api.get("/scripts")["total"] == 0


def test_an_upload_needs_a_token(api: Any) -> None:
    assert upload(api, token="nobody").status == 401
