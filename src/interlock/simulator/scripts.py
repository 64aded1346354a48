"""Agent scripts, uploaded past every gateway to the apps host. Pure. Source: docs/facts/genesys.md#genesys-15.

The form (`file`, `scriptName`, `scriptIdToReplace`), the correlation id in its answer and the status to poll are what
the provider sends and reads.
"""

from __future__ import annotations

from .answer import Json, Moment, Reply, Request, bad_request, not_found
from .call import Call, home_division, named, page, shown
from .chance import Chance
from .form import read_form
from .media import MEDIA_PREFIX, Media
from .org import Kind, Organisation, Record
from .routes import Route

KINDS = (Kind(name="script", entity="Script", service="Scripter"),)

UPLOAD_PATH = "/uploads/v2/scripter"
MAX_UPLOADS = 10_000


class Scripts:
    """Uploads and scripts.

    Args:
        chance: For ids of uploads.
        media: Keeps the files.
    """

    def __init__(self, *, chance: Chance, media: Media) -> None:
        self._chance = chance
        self._media = media
        self._uploads: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """Return the routes of scripts."""
        view, edit = ("scripter:script:view",), ("scripter:script:edit",)
        return [
            Route(method="GET", path="/scripts", handler=_list, permissions=view),
            Route(method="GET", path="/scripts/published", handler=_list_published, permissions=view),
            Route(method="POST", path="/scripts/published", handler=_publish, permissions=edit),
            Route(method="GET", path="/scripts/uploads/{id}/status", handler=self._status, permissions=view),
            Route(method="POST", path="/scripts/{id}/export", handler=_export, permissions=view),
            Route(method="GET", path="/scripts/{id}", handler=_read, permissions=view),
            Route(method="DELETE", path="/scripts/{id}", handler=_delete, permissions=("scripter:script:delete",)),
        ]

    def upload(self, request: Request, org: Organisation, moment: Moment) -> Reply:
        """Take a multipart upload; it replaces the script that it names by id, else the one of the name.

        Raises:
            ApiRefusal: 400, the form is not readable or lacks a part; 404, there is no script of the id.
        """
        form = read_form(request)
        name, file = form.get("scriptName", b"").decode("utf-8", "replace").strip(), form.get("file")
        if not name or file is None:
            raise bad_request("The form needs scriptName and file", "invalid.form")
        body: Json = {"name": name, "division": {"id": home_division(org)}, "size": len(file), "published": False}
        body["media"] = self._media.keep(file, name)
        owner = form.get("scriptIdToReplace", b"").decode("latin-1") or org.owner_of("script", name)
        record = (
            org.add("script", body, moment) if owner is None else org.change(org.get("script", owner), body, moment)
        )
        if len(self._uploads) >= MAX_UPLOADS:
            self._uploads.pop(next(iter(self._uploads)))
        identifier = self._chance.uuid()
        self._uploads[identifier] = record.id
        return Reply(content={"correlationId": identifier})

    def _status(self, call: Call) -> Reply:
        script = self._uploads.get(call.params[0])
        if script is None:
            raise not_found("upload", call.params[0])
        return Reply(content={"url": f"/api/v2/scripts/{script}", "succeeded": True, "message": "succeeded"})


def _view(call: Call) -> list[Json]:
    return [_shown(record, body) for record, body in call.listed("script")]


def _shown(record: Record, body: Json) -> Json:
    view = shown(record, {name: value for name, value in body.items() if name != "media"})
    return {**view, "versionId": f"{record.id}/{record.version}"}


def _list(call: Call) -> Reply:
    return page(call, named(call, _view(call)))


def _list_published(call: Call) -> Reply:
    return page(call, named(call, (view for view in _view(call) if view["published"])))


def _read(call: Call) -> Reply:
    return Reply(content=_shown(*call.read("script", call.params[0])))


def _export(call: Call) -> Reply:
    """Give the address of the file that was uploaded."""
    record = call.get("script", call.params[0])
    return Reply(content={"url": f"{call.base_url}{MEDIA_PREFIX}{record.body['media']}"})


def _publish(call: Call) -> Reply:
    record = call.get("script", str(call.fields().get("scriptId", "")))
    changed = call.org.change(record, {**record.body, "published": True}, call.moment)
    return Reply(content=_shown(changed, changed.body))


def _delete(call: Call) -> Reply:
    """DELETE: 200, the provider takes any other status for a failure."""
    call.org.remove(call.get("script", call.params[0]), call.moment)
    return Reply(status=200)
