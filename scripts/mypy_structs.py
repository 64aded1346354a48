"""A mypy plugin: functions of `dataclasses` are refused for structs of msgspec.

mypy takes a struct for a dataclass, because both are declared as classes made from their fields. At run time
`dataclasses.replace` of a struct is a TypeError; it once ended every run that had a secret to hide.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.errorcodes import ARG_TYPE
from mypy.plugin import FunctionContext, Plugin
from mypy.types import Instance, Type, UnionType, get_proper_type

_FUNCTIONS = frozenset(f"dataclasses.{name}" for name in ("replace", "asdict", "astuple", "fields"))
_STRUCT = "msgspec.Struct"


class Structs(Plugin):
    """Looks at the first argument of each call of these functions."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """See `Plugin.get_function_hook`."""
        return _check if fullname in _FUNCTIONS else None


def _check(context: FunctionContext) -> Type:
    given = context.arg_types[0]
    if given and _is_struct(given[0]):
        context.api.fail("a struct is no dataclass: use msgspec.structs", context.context, code=ARG_TYPE)
    return context.default_return_type


def _is_struct(given: Type) -> bool:
    kind = get_proper_type(given)
    if isinstance(kind, UnionType):
        return any(_is_struct(one) for one in kind.items)
    return isinstance(kind, Instance) and any(base.fullname == _STRUCT for base in kind.type.mro)


def plugin(version: str) -> type[Plugin]:  # noqa: ARG001 - the name and the argument are mypy's
    """Return the plugin; mypy calls this by name."""
    return Structs
