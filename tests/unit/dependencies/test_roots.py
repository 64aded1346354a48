"""Which root needs which, and in which order they are worked on."""

from __future__ import annotations

import pytest

from interlock.dependencies.roots import (
    Need,
    Reason,
    RemoteRead,
    RootModule,
    check_declared,
    find_needs,
    order_of,
)
from interlock.errors import UsageError
from interlock.hcl import read_module
from interlock.source.tree import MemoryTree, Span

SPAN = Span(path="app/main.tf", start=0, end=1, line=6, column=1, end_line=6, end_column=2)

MAKES = 'resource "genesyscloud_routing_queue" "orders" {\n  name = "Orders"\n}\n'
LOOKS_UP = 'data "genesyscloud_routing_queue" "orders" {\n  name = "Orders"\n}\n'


def root(name: str, tree: MemoryTree, *, address: str = "", reads: str = "", after: tuple[str, ...] = ()) -> RootModule:
    read = (RemoteRead(data="data.terraform_remote_state.x", address=reads, span=SPAN),) if reads else ()
    return RootModule(name=name, module=read_module(tree, name), address=address, reads=read, depends_on=after)


def test_a_root_needs_the_one_whose_state_it_reads() -> None:
    tree = MemoryTree({"net/main.tf": "", "app/main.tf": ""})
    roots = [root("net", tree, address="s3://b/net"), root("app", tree, address="s3://b/app", reads="s3://b/net")]
    (need,) = find_needs(roots, tree)
    assert (need.root, need.on, need.reason) == ("app", "net", Reason.REMOTE_STATE)
    assert need.why == "data.terraform_remote_state.x (main.tf:6) reads its state"


def test_a_root_that_reads_its_own_state_or_one_of_nobody_here_needs_nothing() -> None:
    tree = MemoryTree({"net/main.tf": "", "app/main.tf": ""})
    roots = [root("net", tree, address="s3://b/net", reads="s3://b/net"), root("app", tree, reads="s3://b/other")]
    assert find_needs(roots, tree) == ()


def test_unknown_addresses_do_not_match_each_other() -> None:
    tree = MemoryTree({"net/main.tf": "", "app/main.tf": ""})
    lost = RemoteRead(data="data.terraform_remote_state.x", address="", span=SPAN)
    app = RootModule(name="app", module=read_module(tree, "app"), reads=(lost,))
    assert find_needs([root("net", tree), app], tree) == ()


def test_a_root_needs_the_one_that_makes_what_it_looks_up_by_name() -> None:
    tree = MemoryTree({"queues/main.tf": MAKES, "flows/main.tf": LOOKS_UP, "other/main.tf": ""})
    (need,) = find_needs([root(name, tree) for name in ("flows", "queues", "other")], tree)
    assert (need.root, need.on, need.reason) == ("flows", "queues", Reason.LOOKUP)
    assert 'looks up "Orders"' in need.why


def test_a_lookup_within_one_root_is_no_need() -> None:
    tree = MemoryTree({"queues/main.tf": MAKES + LOOKS_UP, "flows/main.tf": ""})
    assert find_needs([root(name, tree) for name in ("flows", "queues")], tree) == ()


def test_depends_on_counts_among_the_roots_at_hand() -> None:
    tree = MemoryTree({"a/main.tf": "", "b/main.tf": ""})
    roots = [root("a", tree, after=("b", "elsewhere")), root("b", tree)]
    assert [(need.root, need.on, need.reason) for need in find_needs(roots, tree)] == [("a", "b", Reason.DECLARED)]


def test_a_depends_on_that_names_no_state_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="state app depends on nett") as caught:
        check_declared({"app": ("nett",), "net": ()}, ["net", "app"])
    assert "the nearest is net" in caught.value.why
    assert "states.app.depends_on" in caught.value.fix
    check_declared({"app": ("net",)}, ["net", "app"])


def needs(*pairs: str) -> list[Need]:
    made = (pair.split(">") for pair in pairs)
    return [Need(root=root, on=on, reason=Reason.DECLARED, why=f"{root} reads {on}") for root, on in made]


def test_the_order_has_a_root_behind_all_that_it_needs_and_the_rest_as_early_as_can_be() -> None:
    assert order_of(["web", "net", "solo", "app"], needs("app>net", "web>app")) == (
        ("net", "solo"),
        ("app",),
        ("web",),
    )


def test_a_circle_is_refused_and_named_with_its_reasons() -> None:
    with pytest.raises(UsageError) as caught:
        order_of(["a", "b", "c", "d"], needs("a>b", "b>c", "c>a", "d>a"))
    assert caught.value.exit_status == 3
    assert caught.value.what == "roots need each other in a circle: a -> b -> c -> a"
    assert caught.value.why == "a needs b: a reads b; b needs c: b reads c; c needs a: c reads a"
