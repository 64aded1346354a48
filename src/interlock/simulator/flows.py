"""Flows: published by a job from an uploaded file; and what uses them. Pure.

The id of a flow comes from the name and type in its file, so a "create" takes over an existing flow silently, and a
renamed one leaves the old behind. Publishing fails when the file names an object that does not exist; the messages may
be absent. Source: docs/facts/genesys.md#genesys-34 and #genesys-36.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .answer import Json, Moment, Reply, Request, bad_request, conflict, not_found
from .architect import described, users_of_flow
from .call import Call, home_division, page, shown
from .chance import Chance
from .org import Kind, Organisation, Record
from .routes import Route

KINDS = (Kind(name="flow", entity="Flow", service="Architect", unique="key"),)

UPLOAD_PREFIX = "/_upload/"
MAX_FLOW_BYTES = 5_000_000
MAX_JOBS = 10_000

# Where a flow file names other objects by display name: the field of an action, and our kind.
_NAMED = {
    "targetQueue": "queue",
    "queue": "queue",
    "skill": "skill",
    "languageSkill": "language",
    "wrapUpCode": "wrapupcode",
    "dataTable": "datatable",
    "schedule": "schedule",
    "scheduleGroup": "schedulegroup",
    "targetFlow": "flow",
    "group": "group",
}
_TYPES = re.compile(r"[A-Za-z]{3,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTerms:
    """How publishing goes.

    Attributes:
        job_s: How long a job takes.
        silent_failures: Leave the messages out when a job fails (provider issue 1806).
    """

    job_s: float = 0.0
    silent_failures: bool = False


@dataclass(slots=True)
class _Job:
    id: str
    signature: str
    caller: str
    status: str = "Created"
    ready_s: float = 0.0
    messages: list[str] = field(default_factory=list)
    flow_id: str = ""


class Publisher:
    """Jobs, uploads and flows.

    Args:
        terms: How publishing goes, in the organisation's own time.
        chance: For ids of jobs and their signatures.
    """

    def __init__(self, terms: FlowTerms, *, chance: Chance) -> None:
        self._terms = terms
        self._chance = chance
        self._jobs: dict[str, _Job] = {}

    def routes(self) -> list[Route]:
        """Return the routes of flows and their jobs."""
        view, edit = ("architect:flow:view",), ("architect:flow:add", "architect:flow:edit")
        tracking = "/architect/dependencytracking"
        return [
            Route(method="POST", path="/flows/jobs", handler=self._start, permissions=edit),
            Route(method="GET", path="/flows/jobs/{id}", handler=self._job, permissions=edit),
            Route(method="GET", path="/flows", handler=_list, permissions=view),
            Route(method="GET", path="/flows/{id}", handler=_read, permissions=view),
            Route(method="DELETE", path="/flows/{id}", handler=_delete, permissions=("architect:flow:delete",)),
            Route(method="POST", path=tracking + "/build", handler=_build_tracking, permissions=view),
            Route(method="GET", path=tracking + "/build", handler=_tracking_status, permissions=view),
            Route(method="POST", path="/flows/actions/unlock", handler=_unlock, permissions=("architect:flow:unlock",)),
            Route(method="GET", path=tracking + "/consumingresources", handler=_consuming, permissions=view),
            Route(method="GET", path=tracking + "/consumedresources", handler=_consumed, permissions=view),
        ]

    def awaits(self, path: str) -> bool:
        """Return whether a job gave the path away for its upload."""
        return path.startswith(UPLOAD_PREFIX) and path.removeprefix(UPLOAD_PREFIX) in self._jobs

    def upload(self, request: Request, org: Organisation, moment: Moment) -> Reply:
        """Take the PUT to a presigned URL: it needs the signature and the header that the job gave, and no token.

        Returns:
            200, or 403 as an object store would answer.
        """
        job = self._jobs.get(request.path.removeprefix(UPLOAD_PREFIX))
        if job is None or request.method != "PUT" or request.query.get("signature") != job.signature:
            return Reply(status=403, content={"message": "SignatureDoesNotMatch"})
        if request.headers.get("x-amz-meta-jobid") != job.id:
            return Reply(status=403, content={"message": "AccessDenied"})
        self._publish(job, request.body, org, moment)
        return Reply(status=200)

    def _start(self, call: Call) -> Reply:
        if len(self._jobs) >= MAX_JOBS:
            self._jobs.pop(next(iter(self._jobs)))
        job = _Job(id=self._chance.uuid(), signature=f"{self._chance.bits():016x}", caller=call.caller.client_id)
        self._jobs[job.id] = job
        content = {
            "id": job.id,
            "presignedUrl": f"{call.base_url}{UPLOAD_PREFIX}{job.id}?signature={job.signature}",
            "headers": {"x-amz-meta-jobid": job.id},
        }
        return Reply(content=content)

    def _job(self, call: Call) -> Reply:
        job = self._jobs.get(call.params[0])
        if job is None:
            raise not_found("job", call.params[0])
        status = job.status if call.moment.elapsed_s >= job.ready_s else "Started"
        view: Json = {"id": job.id, "status": status, "jobStatus": status}
        if status == "Success":
            view["flow"] = {"id": job.flow_id}
        if (
            status == "Failure"
            and "messages" in call.request.query.get("expand", "")
            and not self._terms.silent_failures
        ):
            view["messages"] = [{"type": "Error", "text": message} for message in job.messages]
        return Reply(content=view)

    def _publish(self, job: _Job, body: bytes, org: Organisation, moment: Moment) -> None:
        job.ready_s = moment.elapsed_s + self._terms.job_s
        try:
            kind, content = parse_flow(body)
        except ValueError as error:
            job.status, job.messages = "Failure", [str(error)]
            return
        job.messages = list(_missing(content, org))
        job.status = "Failure" if job.messages else "Success"
        if not job.messages:
            job.flow_id = _store(org, kind, content, moment).id


def parse_flow(body: bytes) -> tuple[str, Json]:
    """Return type and content of a flow file.

    Raises:
        ValueError: It is not YAML, or no flow; the text is fit for a job's message.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(body) > MAX_FLOW_BYTES:
        raise ValueError(f"the flow file exceeds {MAX_FLOW_BYTES} bytes")
    try:
        reader = YAML(typ="safe", pure=True)
        reader.composer.warn_double_anchors = False  # YAML allows it, the last one counts
        document = reader.load(body.decode())
    except (YAMLError, ArithmeticError, LookupError, ValueError, RecursionError) as error:
        raise ValueError("the flow file is not readable YAML") from error
    if not isinstance(document, dict) or len(document) != 1:
        raise ValueError("the flow file must have one key, the flow type")
    kind, content = next(iter(document.items()))
    if not isinstance(kind, str) or _TYPES.fullmatch(kind) is None or not isinstance(content, dict):
        raise ValueError("the flow file must have one key, the flow type")
    if not isinstance(content.get("name"), str) or not content["name"].strip():
        raise ValueError("the flow has no name")
    return kind, content


def named_objects(content: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, display name) of each object that a flow names with `lit: {name: …}`.

    Each part is visited once, whatever YAML aliases make of the file.
    """
    waiting, seen = [content], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            yield from _named_in(part)
            waiting.extend(reversed(part.values()))
        elif isinstance(part, list):
            waiting.extend(reversed(part))


def _named_in(part: Json) -> Iterator[tuple[str, str]]:
    for key, value in part.items():
        literal = value.get("lit") if isinstance(value, dict) else None
        if key in _NAMED and isinstance(literal, dict) and isinstance(literal.get("name"), str):
            yield _NAMED[key], literal["name"]


def _missing(content: Json, org: Organisation) -> Iterator[str]:
    for kind, name in named_objects(content):
        if not _exists(org, kind, name):
            yield f"The flow names the {kind} '{name[:100]}', which does not exist."


def _exists(org: Organisation, kind: str, name: str) -> bool:
    if kind == "flow":
        return any(flow.body["name"].casefold() == name.casefold() for flow in org.living("flow"))
    return org.owner_of(kind, name) is not None


def _store(org: Organisation, kind: str, content: Json, moment: Moment) -> Record:
    key = f"{kind}/{content['name']}"
    body = {
        "name": content["name"],
        "type": kind.upper(),
        "key": key,
        "description": str(content.get("description") or ""),
        "division": {"id": home_division(org)},
        "names": [list(pair) for pair in dict.fromkeys(named_objects(content))],
    }
    owner = org.owner_of("flow", key)
    if owner is None:
        return org.add("flow", body, moment)
    return org.change(org.get("flow", owner), {**body, "division": org.get("flow", owner).body["division"]}, moment)


def _view(record: Record, body: Json) -> Json:
    hidden = {"key", "names"}
    view = shown(record, {name: value for name, value in body.items() if name not in hidden})
    view.update(active=True, system=False, deleted=False, publishedVersion={"id": f"{record.version}.0"})
    return view


def _list(call: Call) -> Reply:
    wanted = (call.request.query.get("name") or "").strip("*").casefold()
    types = {kind.casefold() for kind in call.request.query.get("type", "").split(",") if kind}
    found = [
        _view(record, body)
        for record, body in call.listed("flow")
        if wanted in body["name"].casefold() and (not types or body["type"].casefold() in types)
    ]
    return page(call, found)


def _read(call: Call) -> Reply:
    return Reply(content=_view(*call.read("flow", call.params[0])))


def _delete(call: Call) -> Reply:
    record = call.get("flow", call.params[0])
    users = users_of_flow(call, record.id)
    if users:
        user = users[0][0]
        raise conflict(f"The flow is in use by the {user.kind.name} {user.body['name']} ({user.id})", "flow.in.use")
    call.org.remove(record, call.moment)
    return Reply(status=204)


def _unlock(call: Call) -> Reply:
    identifier = call.request.query.get("flow", "")
    if not identifier:
        raise bad_request("The parameter 'flow' is required", "invalid.value")
    return Reply(content=_view(*call.read("flow", identifier)))


def _consuming(call: Call) -> Reply:
    """Who uses the object: IVRs and queues a flow, flows the objects that they name."""
    identifier = call.request.query.get("id", "")
    found = [{**described(record), "objectType": kind} for record, kind in users_of_flow(call, identifier)]
    namers = [
        flow
        for flow in call.org.living("flow")
        if any(call.org.owner_of(kind, name) == identifier for kind, name in flow.body["names"] if kind != "flow")
    ]
    found += [{**described(flow), "objectType": flow.body["type"] + "FLOW"} for flow in namers]
    return page(call, found)


def _consumed(call: Call) -> Reply:
    """What a flow uses by name."""
    record = call.get("flow", call.request.query.get("id", ""))
    owners = [(kind, call.org.owner_of(kind, name)) for kind, name in record.body["names"] if kind != "flow"]
    found = [(kind, call.org.find(kind, owner)) for kind, owner in owners if owner is not None]
    return page(call, [{**described(item), "objectType": kind.upper()} for kind, item in found if item is not None])


def _build_tracking(_call: Call) -> Reply:
    """Begin to build what uses what anew; here it is always up to date."""
    return Reply(status=202)


def _tracking_status(_call: Call) -> Reply:
    return Reply(content={"status": "OPERATIONAL"})
