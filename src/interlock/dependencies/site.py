"""Where a resource stands: its module, the calls that lead there, and what is certain of its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from interlock.address import render_key
from interlock.dependencies.inventory import EMPTY, Inventory, Thing
from interlock.hcl import Known, Module, ModuleCall, Resource, Scope, constant, constant_text
from interlock.terraform.plan import PlanDocument

MAX_SITES = 100_000  # resources of all module instances; a bound on the work for modules that call modules

_NAMES = ("name", "email", "title")
"""Arguments by which objects are told apart by people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """One root module with what is known beside its text.

    Attributes:
        module: The configuration.
        inventory: What its state holds; empty when the state is not at hand.
        plan: What will be done; None without a plan.
    """

    module: Module
    inventory: Inventory = EMPTY
    plan: PlanDocument | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One resource block at one place of the module tree.

    Attributes:
        root: The root module.
        module: The module that holds the block.
        chain: The calls that lead to it, outermost first, each with the module that makes it.
        scope: What is certain there.
    """

    root: Root
    module: Module
    chain: tuple[tuple[Module, ModuleCall], ...]
    scope: Scope = field(repr=False)
    resource: Resource

    @property
    def prefix(self) -> str:
        """The module path with a final dot; empty in the root."""
        return "".join(f"module.{call.name}." for _, call in self.chain)

    @property
    def address(self) -> str:
        """The address in the root, without instance keys."""
        return self.prefix + self.resource.key

    @property
    def is_repeated(self) -> bool:
        """Whether `count` or `for_each` makes several instances of it."""
        return any(name in self.resource.body.attributes for name in ("count", "for_each"))

    def names(self) -> Iterator[str]:
        """Yield what people call the object, as far as it is certain."""
        for name in _NAMES:
            text = constant_text(self.resource.body.get(name), self.scope)
            if text:
                yield text

    def expression(self, attribute: str, thing: Thing | None = None) -> str:
        """Spell a reference to an attribute of it, for use in its own module; empty when no one instance is meant."""
        if not self.is_repeated:
            return f"{self.resource.key}.{attribute}"
        key = thing.address.key if thing is not None else None
        return f"{self.resource.key}{render_key(key)}.{attribute}" if key is not None else ""


def list_sites(root: Root) -> Iterator[Site]:
    """Yield every resource and data source of a root and its local modules, each call of a module on its own."""
    pending: list[tuple[Module, tuple[tuple[Module, ModuleCall], ...], Scope]] = [(root.module, (), root.module.scope)]
    count = 0
    while pending:
        module, chain, scope = pending.pop()
        for resource in module.resources:
            count += 1
            if count > MAX_SITES:
                return
            yield Site(root=root, module=module, chain=chain, scope=scope, resource=resource)
        pending.extend(
            (call.module, (*chain, (module, call)), _inner_scope(call, call.module, scope))
            for call in reversed(module.calls)
            if call.module is not None
        )


def _inner_scope(call: ModuleCall, module: Module, scope: Scope) -> Scope:
    """Return what is certain inside a called module: arguments that are certain here, defaults where none is given."""
    given: dict[str, Known] = {}
    for name, variable in module.variables.items():
        attribute = call.block.body.attributes.get(name)
        known = constant(attribute.value if attribute is not None else variable.default, scope)
        if known is not None:
            given[name] = known
    return module.scope_with(given)
