from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from interlock.simulator import FlowTerms, Request, Terms
from interlock.simulator.flows import named_objects, parse_flow

FLOW = b"""
inboundCall:
  name: Main line
  tasks:
    - task:
        actions:
          - transferToAcd:
              targetQueue:
                lit:
                  name: Orders
"""
PLAIN = b"inboundCall:\n  name: Main line\n"


def publish(api: Any, content: bytes) -> Any:
    job = api.post("/flows/jobs")
    assert set(job) == {"id", "presignedUrl", "headers"}
    parts = urlsplit(job["presignedUrl"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    upload = Request(method="PUT", path=parts.path, query=query, headers=job["headers"], body=content)
    assert api.simulation.handle(upload, api.moment).reply.status == 200
    return api.get(f"/flows/jobs/{job['id']}", expand="messages")


def test_a_flow_is_published_by_a_job_from_an_upload(api: Any) -> None:
    api.queue("Orders")
    done = publish(api, FLOW)
    assert done["status"] == "Success"
    flow = api.get(f"/flows/{done['flow']['id']}", deleted="false")
    assert (flow["name"], flow["type"]) == ("Main line", "INBOUNDCALL")


def test_publishing_a_flow_of_the_same_name_takes_the_existing_one_over(api: Any) -> None:
    first, second = publish(api, PLAIN), publish(api, PLAIN)
    assert first["flow"] == second["flow"]
    renamed = publish(api, PLAIN.replace(b"Main", b"Second"))
    assert renamed["flow"] != first["flow"]
    assert api.get("/flows")["total"] == 2


def test_a_flow_that_names_a_missing_object_fails_and_says_which_or_stays_silent(api: Any, api_with: Any) -> None:
    failed = publish(api, FLOW)
    assert failed["status"] == "Failure"
    assert failed["messages"][0]["text"] == "The flow names the queue 'Orders', which does not exist."
    silent = publish(api_with(Terms(flows=FlowTerms(silent_failures=True))), FLOW)
    assert silent == {"id": silent["id"], "status": "Failure", "jobStatus": "Failure"}
    assert api.get("/flows")["total"] == 0


def test_a_job_takes_its_time(api_with: Any) -> None:
    api = api_with(Terms(flows=FlowTerms(job_s=40), speed=4))
    started = publish(api, PLAIN)
    assert started["status"] == "Started"
    api.elapsed_s += 10
    assert api.get(f"/flows/jobs/{started['id']}")["status"] == "Success"


@pytest.mark.parametrize("spoil", ["signature", "header", "method", "job"])
def test_an_upload_needs_the_signature_and_header_of_its_job(api: Any, spoil: str) -> None:
    job = api.post("/flows/jobs")
    parts = urlsplit(job["presignedUrl"])
    request = Request(
        method="POST" if spoil == "method" else "PUT",
        path="/_upload/nobody" if spoil == "job" else parts.path,
        query={} if spoil == "signature" else {"signature": parse_qs(parts.query)["signature"][0]},
        headers={} if spoil == "header" else job["headers"],
        body=PLAIN,
    )
    assert api.simulation.handle(request, api.moment).reply.status == 403
    assert api.get(f"/flows/jobs/{job['id']}")["status"] == "Created"


def test_a_flow_in_use_cannot_be_deleted_and_its_user_is_named(api: Any) -> None:
    flow = publish(api, PLAIN)["flow"]["id"]
    queue = api.queue("Orders", queueFlow={"id": flow})
    refused = api.send("DELETE", f"/flows/{flow}")
    assert refused.status == 409
    assert queue in refused.content["message"]
    users = api.get("/architect/dependencytracking/consumingresources", id=flow, objectType="INBOUNDCALLFLOW")
    assert [(user["id"], user["objectType"]) for user in users["entities"]] == [(queue, "QUEUE")]
    api.send("DELETE", f"/routing/queues/{queue}", forceDelete="true")
    assert api.send("DELETE", f"/flows/{flow}").status == 204


def test_dependency_tracking_knows_what_a_flow_names(api: Any) -> None:
    queue = api.queue("Orders")
    flow = publish(api, FLOW)["flow"]["id"]
    consumed = api.get("/architect/dependencytracking/consumedresources", id=flow)["entities"]
    consuming = api.get("/architect/dependencytracking/consumingresources", id=queue)["entities"]
    assert [item["id"] for item in consumed] == [queue]
    assert [item["id"] for item in consuming] == [flow]


def test_a_flow_full_of_aliases_is_read_in_one_pass() -> None:
    layers = b"".join(b"  b%d: &b%d [%s]\n" % (n, n, b", ".join([b"*b%d" % (n - 1)] * 9)) for n in range(1, 40))
    _, content = parse_flow(b"inboundCall:\n  name: Bomb\n  b0: &b0 {targetQueue: {lit: {name: Orders}}}\n" + layers)
    assert list(named_objects(content)) == [("queue", "Orders")]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"a: b", b"a: {}\nb: {}", b"[1]", b"\xff\xfe", b"inboundCall: {name: ''}", b"&a [*a]"]
)
def test_an_unreadable_flow_is_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(ValueError, match="flow"):
        parse_flow(content)
