import pytest

from interlock.genesys.flow_text import name_of_flow


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inboundCall:\n  name: Main Flow\n  tasks: []\n", "Main Flow"),
        ("# export\n\nbot:\n    description: x\n    name: 'Q and A' \n", "Q and A"),
        ('\ufeffworkflow:\n\tname: "A: b"\n', "A: b"),
        ("inboundCall:\n  name: Main # ours\n", "Main"),
        ("inboundCall:\n  menus:\n    - name: Menu\n  name: Main\n", "Main"),
        ("inboundCall:\n  tasks:\n    - task:\n        name: T\n", ""),
        ("inboundCall:\n  name: '{{prefix}} Main'\n", "Prod Main"),
        ("inboundCall:\n  name: '{{other}} Main'\n", ""),
        ("name: Main\n", ""),
        ("a:\n  x: 1\nb:\n  name: N\n", ""),
        ("", ""),
        ("{", ""),
    ],
)
def test_the_name_of_a_flow_is_read_from_its_own_settings(text: str, name: str) -> None:
    assert name_of_flow(text, {"prefix": "Prod"}) == name
