from pathlib import Path

import pytest

from interlock.source.disk import DiskTree, replace_file
from interlock.source.tree import MAX_FILE_BYTES, MemoryTree, SourceUnreadable, join, span_of


def test_a_span_counts_lines_and_characters_from_one() -> None:
    content = 'é = 1\nü = "x"\n'.encode()
    start = content.index(b'"x"')
    span = span_of("f", content, start, start + 3)
    assert (span.line, span.column, span.end_line, span.end_column) == (2, 5, 2, 8)
    assert content[span.start : span.end] == b'"x"'


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("a", "../b"), "b"),
        (("a/", "./b/"), "a/b"),
        ((".",), "."),
        (("",), "."),
        (("/a", "b"), "/a/b"),
        (("..", "a"), "../a"),
    ],
)
def test_paths_are_normalised(parts: tuple[str, ...], expected: str) -> None:
    assert join(*parts) == expected


def test_both_trees_answer_alike(tmp_path: Path) -> None:
    texts = {"a.tf": "1", "d/b.tf": "2", "d/e/c.tf": "3", ".h/x": "4"}
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for tree in (MemoryTree(texts), DiskTree(tmp_path)):
        assert tree.files(".") == ("a.tf",)
        assert tree.files("d") == ("b.tf",)
        assert tree.folders(".") == (".h", "d")
        assert tree.folders("d") == ("e",)
        assert tree.files("absent") == tree.folders("absent") == ()
        assert tree.read("d/e/c.tf") == b"3"
        assert tree.read("absent") is None
        assert tree.read("d") is None


def test_links_to_folders_are_not_followed_by_walks(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    assert DiskTree(tmp_path).folders(".") == ()


def test_a_file_beyond_the_limit_is_unreadable_and_not_absent(tmp_path: Path) -> None:
    (tmp_path / "big.tf").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SourceUnreadable):
        DiskTree(tmp_path).read("big.tf")


def test_a_file_is_replaced_through_a_link_and_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "real.tf").write_text("old")
    (tmp_path / "link.tf").symlink_to("real.tf")
    replace_file(str(tmp_path / "link.tf"), b"new")
    assert (tmp_path / "real.tf").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.tf", "real.tf"]


def test_a_folder_that_is_missing_is_an_error_of_three_parts(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable) as refused:
        replace_file(str(tmp_path / "absent" / "x.tf"), b"new")
    assert refused.value.why == "No such file or directory"
