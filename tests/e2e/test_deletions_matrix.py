"""Cells of the matrix (`tests/matrix`) for real: no good apply is refused, called suspect, or called lost."""

from pathlib import Path

import pytest
from tests.matrix.cells import cell
from tests.matrix.scene import Plain, Scene

from interlock.testing.aws import LocalAws

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.promise("P6"),
    pytest.mark.promise("P8"),
]

OWN = (
    "destroy × gone",
    "saved plan × update",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "deposed × gone",
            "destroy, all gone × gone",
            "moved and destroy × gone",
            "-refresh-only × gone",
            "count to for_each × delete",
            "forget × gone",
        )
    ),
)
S3 = (
    "destroy × gone",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("destroy, all gone × gone", "moved and destroy × none", "deposed × gone")
    ),
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    return Plain(tmp_path_factory.mktemp("plain"), "terraform")


@pytest.mark.parametrize("name", OWN)
def test_an_operation_ends_as_it_must_and_the_state_says_what_exists(name: str, plain: Plain, tmp_path: Path) -> None:
    _play(name, plain, Scene(tmp_path, plain))


@pytest.mark.parametrize("name", S3)
def test_an_operation_on_a_state_in_s3_ends_as_it_must(name: str, plain: Plain, tmp_path: Path, aws: LocalAws) -> None:
    _play(name, plain, Scene(tmp_path, plain, aws))


def _play(name: str, plain: Plain, scene: Scene) -> None:
    played = cell(name)
    try:
        outcome = scene.play(played, plain.start(played.operation))
    finally:
        scene.desk.close()
    assert outcome.faults == (), outcome.said
