import json

from tf.types import Number, String, Unknown

from interlock.simulator.provider.shapes import Object, ObjectList, Objects, Text, Texts

MEMBER = Object({"user_id": String(), "ring_num": Number()}, {"ring_num": 1})


def test_absent_and_empty_are_the_same_but_unknown_is_neither() -> None:
    for kind, empty in ((Text(), ""), (Texts(), []), (Objects(MEMBER), [])):
        assert kind.semantically_equal(None, empty)
        assert not kind.semantically_equal(Unknown, empty)
        assert kind.semantically_equal(Unknown, Unknown)


def test_sets_are_equal_in_any_order_and_defaults_count_as_written() -> None:
    kind = Objects(MEMBER)
    first = [{"user_id": "a", "ring_num": None}, {"user_id": "b", "ring_num": 2}]
    second = [{"user_id": "b", "ring_num": 2.0}, {"user_id": "a", "ring_num": 1}]
    assert kind.semantically_equal(first, second)
    assert not kind.semantically_equal(first, second[:1])
    assert not ObjectList(MEMBER).semantically_equal(first, second)


def test_an_object_tells_terraform_its_fields_and_passes_unknown_through() -> None:
    assert json.loads(Objects(MEMBER).tf_type()) == ["set", ["object", {"user_id": "string", "ring_num": "number"}]]
    assert MEMBER.decode(Unknown) is Unknown
    assert MEMBER.encode({"user_id": Unknown}) == {"user_id": Unknown, "ring_num": None}
