from pathlib import Path

from interlock.cli.init import root_modules


def test_root_modules_are_found_in_every_syntax_that_terraform_or_opentofu_reads(tmp_path: Path) -> None:
    texts = {
        "a/main.tf": 'resource "terraform_data" "a" {}\n',
        "b/main.tf.json": '{"resource": {"terraform_data": {"b": {}}}}',
        "c/main.tofu": 'module "c" {\n  source = "../modules/c"\n}\n',
        "d/backend.tofu.json": '{"terraform": {"cloud": {}}}',
        "e/notes.txt": 'resource "x" "y" {}',
        "f/main.tf~": 'resource "x" "y" {}',
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    assert [path.name for path in root_modules(tmp_path)] == ["a", "b", "c", "d"]
