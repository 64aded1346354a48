from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.operate.agreed_deletions import agree, read_agreed
from interlock.run.order import AGREED_FILE, MAX_AGREED, Agreed


def consent(**changes: object) -> Agreed:
    values: dict[str, object] = {"state": "prod", "lineage": "l1", "serial": 3, "objects": ("t.a",)}
    return Agreed(**{**values, **changes})  # type: ignore[arg-type]


def test_nothing_is_agreed_without_the_file(tmp_path: Path) -> None:
    assert read_agreed(None) == ()
    assert read_agreed(tmp_path / "interlock.yaml") == ()


def test_a_consent_takes_the_place_of_the_one_before_for_the_same_state(tmp_path: Path) -> None:
    settings = tmp_path / "interlock.yaml"
    agree(settings, consent())
    agree(settings, consent(lineage="l2", state="test"))
    path = agree(settings, consent(serial=4, objects=("t.b",)))
    assert path == tmp_path / AGREED_FILE
    assert read_agreed(settings) == (consent(lineage="l2", state="test"), consent(serial=4, objects=("t.b",)))
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"deletions": [{"state": "x"}]}', '{"more": 1}'])
def test_a_file_that_is_not_understood_is_an_error_and_no_consent(tmp_path: Path, text: str) -> None:
    (tmp_path / AGREED_FILE).write_text(text)
    with pytest.raises(UsageError):
        read_agreed(tmp_path / "interlock.yaml")


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / AGREED_FILE).mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        read_agreed(tmp_path / "interlock.yaml")


@pytest.mark.parametrize("address", ["", "t", "module.m", "t.a\nt.b", 't.a"; rm', "t.a t.b", "x" * 9000])
def test_a_consent_to_what_no_plan_can_delete_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of an object"):
        agree(tmp_path / "interlock.yaml", consent(objects=("t.a", address)))
    assert not (tmp_path / AGREED_FILE).exists()


@pytest.mark.parametrize(
    "address", ["t.a", "t.a[0]", 'module.m["a b"].module.n[1].t.a["\u00e4 \\"q\\" ]"]', "data.t.a"]
)
def test_a_consent_takes_every_address_that_a_plan_prints(tmp_path: Path, address: str) -> None:
    agree(tmp_path / "interlock.yaml", consent(objects=(address,)))
    assert read_agreed(tmp_path / "interlock.yaml") == (consent(objects=(address,)),)


def test_a_consent_for_no_lineage_would_cover_nothing_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lineage"):
        agree(tmp_path / "interlock.yaml", consent(lineage=""))


@pytest.mark.parametrize("count", [0, MAX_AGREED + 1])
def test_a_consent_names_objects_and_not_too_many(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="a consent names"):
        agree(tmp_path / "interlock.yaml", consent(objects=tuple(f"t.a[{number}]" for number in range(count))))
