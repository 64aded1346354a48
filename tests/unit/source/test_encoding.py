"""States and configurations that PowerShell's `>` or an editor saved in another encoding."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from interlock.cli.main import main
from interlock.errors import StateInvalid
from interlock.source.encoding import as_utf8, encoding_of
from interlock.state import verify_state
from interlock.state.document import parse_document

STATE = json.dumps(
    {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 3,
        "lineage": "a57fa50d-3010-8ed4-cd79-93733d394b5d",
        "outputs": {},
        "resources": [],
        "check_results": None,
    },
    indent=2,
).encode()

SPELLED = {
    "UTF-16": STATE.decode().encode("utf-16"),
    "UTF-16 the other way": codecs.BOM_UTF16_BE + STATE.decode().encode("utf-16-be"),
    "UTF-32": STATE.decode().encode("utf-32"),
    "UTF-8 with a byte order mark": codecs.BOM_UTF8 + STATE,
}


@pytest.mark.parametrize("name", SPELLED)
def test_every_marked_encoding_is_named_and_read(name: str) -> None:
    assert encoding_of(SPELLED[name]) == name.removesuffix(" the other way")
    assert as_utf8(SPELLED[name]) == STATE


def test_plain_and_broken_texts_stay_as_they_are() -> None:
    broken = codecs.BOM_UTF16_LE + b"\x00\xd8"
    for content in (b"", STATE, broken):
        assert as_utf8(content) is content


@pytest.mark.parametrize("name", SPELLED)
def test_a_state_in_another_encoding_is_refused_in_words_that_say_so(name: str) -> None:
    with pytest.raises(StateInvalid, match="PowerShell"):
        parse_document(SPELLED[name])
    (finding,) = verify_state(SPELLED[name], thorough=True)
    assert name.split(" the", maxsplit=1)[0] in finding.message


@pytest.mark.parametrize("name", SPELLED)
def test_a_state_file_that_powershell_wrote_is_verified_as_what_it_holds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(SPELLED[name])
    with pytest.raises(SystemExit) as ended:
        main(["state", "verify", str(file)])
    assert not ended.value.code
    told = capsys.readouterr()
    assert told.out == "the state is whole\n"
    assert "PowerShell" in told.err
