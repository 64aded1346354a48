import pytest

from interlock.simulator import Reply
from interlock.simulator.call import Call
from interlock.simulator.routes import Route, Router


def handler(_call: Call) -> Reply:
    return Reply()


def test_a_literal_segment_goes_before_a_variable_one() -> None:
    router = Router([Route(method="GET", path=path, handler=handler) for path in ("/a/{id}", "/a/home", "/a/{id}/b")])
    assert router.find("GET", "/a/home")[0].path == "/a/home"
    assert router.find("GET", "/a/x")[1] == ("x",)
    assert router.find("GET", "/a/x/b")[0].path == "/a/{id}/b"


def test_two_routes_for_one_operation_are_refused() -> None:
    route = Route(method="GET", path="/a/{id}", handler=handler)
    with pytest.raises(ValueError, match="two routes"):
        Router([route, route])
