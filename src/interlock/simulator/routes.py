"""Which handler serves which path, with the permissions it needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .answer import ApiRefusal
from .call import Handler

MAX_PATH_LENGTH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API.

    Attributes:
        method: HTTP method.
        path: The template below `/api/v2`, such as `/users/{id}`; any `{…}` matches one segment.
        handler: Serves it.
        permissions: Any one of these suffices; empty means that a valid token does.
    """

    method: str
    path: str
    handler: Handler
    permissions: tuple[str, ...] = ()


class Router:
    """Finds routes. A literal segment goes before a variable one.

    Args:
        routes: All of them; no two may have the same method and template.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._insert(route)

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """Return the route and the variable segments of the path.

        Raises:
            ApiRefusal: 404 unknown path; 405 known path, other method.
        """
        if len(path) > MAX_PATH_LENGTH:
            raise ApiRefusal(414, "uri.too.long", "The request path is too long")
        params: list[str] = []
        node = self._root
        for segment in path.strip("/").split("/"):
            following = node.literal.get(segment)
            if following is None:
                following = node.variable
                params.append(segment)
            if following is None:
                raise ApiRefusal(404, "not.found", "The requested path does not exist")
            node = following
        route = node.routes.get(method)
        if route is None:
            status, code = (405, "method.not.allowed") if node.routes else (404, "not.found")
            raise ApiRefusal(status, code, f"The requested path does not serve {method[:10]}")
        return route, tuple(params)

    def _insert(self, route: Route) -> None:
        node = self._root
        for segment in route.path.strip("/").split("/"):
            node = node.child(segment)
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.path}")
        node.routes[route.method] = route


class _Node:
    __slots__ = ("literal", "routes", "variable")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.routes: dict[str, Route] = {}

    def child(self, segment: str) -> _Node:
        if not segment.startswith("{"):
            return self.literal.setdefault(segment, _Node())
        if self.variable is None:
            self.variable = _Node()
        return self.variable
