"""Files that are fetched from signed addresses, and the sounds of prompts, which are sent to addresses too. Pure.

A resource of a prompt names where its sound goes, and later where it is. Both addresses lie outside the platform API:
no limit counts them. The upload takes an access token, as the vendor's examples send it, with or without the word
`Bearer` (the provider leaves it out); the fetch takes none. A sound that is not WAVE ends as `transcodeFailed`.
"""

from __future__ import annotations

import wave
from hashlib import sha256
from io import BytesIO

from .answer import ApiRefusal, Json, Moment, Reply, Request, bad_request, not_found
from .call import Call, Caller, permitted
from .form import read_form
from .org import Organisation, Record

UPLOAD_PREFIX = "/uploads/v2/promptassets/"  # the path is ours: the vendor's addresses say only whose host it is
MEDIA_PREFIX = "/_media/"
MAX_KEPT_BYTES = 64_000_000  # ours: what all files of an organisation may take; the oldest go first

KIND = "promptresource"


class Media:
    """The files of one organisation."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def awaits(self, path: str, org: Organisation) -> bool:
        """Return whether a path is that of an upload or a file of this organisation."""
        return _uploaded_to(path, org) is not None or path.removeprefix(MEDIA_PREFIX) in self._files

    def upload(self, request: Request, org: Organisation, caller: Caller, moment: Moment) -> Reply:
        """Take a multipart form with one `file`; what the resource had is replaced.

        Raises:
            ApiRefusal: 405 for another method, 404 for no resource, 403 without the right, 400 for another form.
        """
        if request.method != "POST":
            raise ApiRefusal(405, "method.not.allowed", f"The upload does not serve {request.method[:10]}")
        permitted(Call(org=org, request=request, moment=moment, caller=caller), "architect:userPrompt:edit")
        record = _uploaded_to(request.path, org)
        if record is None:
            raise not_found("prompt resource", request.path.removeprefix(UPLOAD_PREFIX)[:100])
        file = read_form(request).get("file")
        if file is None:
            raise bad_request("The form needs file", "invalid.form")
        name = self.keep(file, record.id)
        org.change(record, {**record.body, "media": _heard(file, name, moment)}, moment)
        return Reply(content={"id": record.id})

    def keep(self, file: bytes, owner: str) -> str:
        """Keep a file, and return the name under which it is fetched; only who has the file could guess it."""
        name = sha256(owner.encode() + file).hexdigest()
        self._files[name] = file
        while sum(map(len, self._files.values())) > MAX_KEPT_BYTES:
            self._files.pop(next(iter(self._files)))
        return name

    def fetch(self, request: Request) -> Reply:
        """Return a file: 403 as an object store answers for an address that is not signed, or no more."""
        file = self._files.get(request.path.removeprefix(MEDIA_PREFIX))
        if file is None or request.method != "GET":
            return Reply(status=403, content={"message": "AccessDenied"})
        return Reply(content=file, headers=(("Content-Type", "application/octet-stream"),))


def shown_resource(call: Call, record: Record, view: Json) -> Json:
    """Return one language of a prompt as the API shows it."""
    prompt, language = record.body["_parent"], record.body["language"]
    media = record.body.get("media") or {}
    status = _status(call, media)
    has_address = status == "transcoded" and call.request.query.get("includeMediaUris", "").lower() != "false"
    return {
        **view,
        "id": language,
        "promptId": prompt,
        "uploadStatus": status,
        "uploadUri": f"{call.base_url}{UPLOAD_PREFIX}{prompt}/{language}",
        "languageDefault": False,
        **(_address(call, media) if has_address else {}),
    }


def _address(call: Call, media: Json) -> Json:
    return {"mediaUri": f"{call.base_url}{MEDIA_PREFIX}{media['name']}", "durationSeconds": media["duration_s"]}


def _status(call: Call, media: Json) -> str:
    if not media:
        return "created"
    if call.moment.elapsed_s < media["uploaded_s"] + call.org.delays.media_s:
        return "uploaded"
    return "transcodeFailed" if media["duration_s"] is None else "transcoded"


def _heard(file: bytes, name: str, moment: Moment) -> Json:
    """Return what is kept of a file beside its bytes; a duration of None says that it is not a sound."""
    try:
        with wave.open(BytesIO(file)) as sound:
            duration_s = round(sound.getnframes() / sound.getframerate(), 3)
    except (wave.Error, EOFError, ZeroDivisionError):
        duration_s = None
    return {"name": name, "duration_s": duration_s, "uploaded_s": moment.elapsed_s}


def _uploaded_to(path: str, org: Organisation) -> Record | None:
    """Return the resource to whose address something is sent."""
    owner = org.owner_of(KIND, path.removeprefix(UPLOAD_PREFIX)) if path.startswith(UPLOAD_PREFIX) else None
    return None if owner is None else org.find(KIND, owner)
