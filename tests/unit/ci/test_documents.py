from __future__ import annotations

from interlock.ci.documents import MAX_TOTAL_BYTES, Documents
from interlock.source.tree import MemoryTree, SourceUnreadable


class Counting(MemoryTree):
    """A tree that counts its reads."""

    reads = 0

    def read(self, path: str) -> bytes | None:
        self.reads += 1
        return super().read(path)


def test_a_file_is_read_once() -> None:
    tree = Counting({"a.yml": "a: b\n"})
    documents = Documents(tree)
    assert documents.find("a.yml") is documents.find("a.yml")
    assert documents.find("gone.yml") is documents.find("gone.yml")
    assert tree.reads == 2


def test_a_broken_file_is_one_problem_and_a_missing_one_is_none() -> None:
    documents = Documents(MemoryTree({"a.yml": "a: [\n", "b.yml": "- list\n"}))
    assert [documents.find(path) for path in ("a.yml", "a.yml", "b.yml", "gone.yml")] == [None] * 4
    assert [(problem.span.path, problem.span.line) for problem in documents.problems] == [("a.yml", 2)]


def test_an_unreadable_file_is_a_problem() -> None:
    class Closed(MemoryTree):
        def read(self, path: str) -> bytes | None:
            raise SourceUnreadable(f"{path} could not be read")

    documents = Documents(Closed({}))
    assert documents.find("a.yml") is None
    assert [problem.message for problem in documents.problems] == ["a.yml could not be read"]


def test_a_pipeline_that_is_too_large_altogether_is_a_problem() -> None:
    part = "#" * (500 * 1024)
    count = MAX_TOTAL_BYTES // len(part) + 2
    documents = Documents(MemoryTree({f"{number}.yml": part for number in range(count)}))
    for number in range(count):
        documents.find(f"{number}.yml")
    assert ["MiB" in problem.message for problem in documents.problems] == [True]
