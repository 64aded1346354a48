"""`make matrix`: every cell, on every Terraform that is there, with every store; resumable, prints a table.

    python -m tests.matrix [--work FOLDER] [--store own,s3] [--tool NAME,…] [--cell TEXT] [--record]

What is done is kept in FOLDER and not done again. Terraforms: `terraform` and `tofu` on PATH, and the binaries of
INTERLOCK_TEST_TERRAFORMS.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.matrix.cells import Cell, cells
from tests.matrix.recording import FOLDER, Record, judge, record
from tests.matrix.scene import Plain, Scene
from tests.matrix.tools import find_tools

from interlock.testing.aws import local_aws


def main() -> int:
    """Play what is asked for; 0 when every cell came out as it must."""
    asked = _read_words()
    work = Path(asked.work or tempfile.mkdtemp(prefix="interlock-matrix-"))
    work.mkdir(parents=True, exist_ok=True)
    wanted = [one for one in cells() if asked.cell in str(one)]
    tools = {name: path for name, path in find_tools().items() if not asked.tool or name in asked.tool.split(",")}
    sys.stdout.write(f"{len(wanted)} cells, {', '.join(tools)}; work in {work}\n")
    if asked.record:
        for name, path in tools.items():
            _record(name, path, wanted)
        return 0
    results: dict[str, list[str]] = {}
    for name, path in tools.items():
        for store in asked.store.split(","):
            results |= _play(work, name, path, store, wanted)
    return _show(results)


def _read_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--work", help="Kept between runs, so that a second one goes on where the first ended.")
    parser.add_argument("--store", default="own,s3")
    parser.add_argument("--tool", default="", help="Such as terraform-1.11.4,tofu-1.12.6; all by default.")
    parser.add_argument("--cell", default="", help="Only cells with this in their name.")
    parser.add_argument("--record", action="store_true", help="Only write down anew what plain Terraform does.")
    return parser.parse_args()


def _record(tool: str, path: str, wanted: list[Cell]) -> None:
    """Write down what plain Terraform does in the cells that are not written down yet."""
    file = FOLDER / f"{tool}.json"
    found: dict[str, Record] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="m-") as folder:
        plain = Plain(Path(folder), path)
        for cell in (one for one in wanted if str(one) not in found):
            found[str(cell)] = record(plain, cell, plain.start(cell.operation))
            FOLDER.mkdir(exist_ok=True)
            lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(found.items()))
            file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
            sys.stdout.write(f"{tool} {cell}: {judge(found[str(cell)]) or 'ok'}\n")
            sys.stdout.flush()


def _play(work: Path, tool: str, path: str, store: str, wanted: list[Cell]) -> dict[str, list[str]]:
    """Play cells on one Terraform and one store; return the faults of each by its whole name."""
    done_file = work / f"{tool}-{store}.json"
    done: dict[str, list[str]] = json.loads(done_file.read_text()) if done_file.exists() else {}
    with ExitStack() as stack:
        aws = stack.enter_context(local_aws()) if store == "s3" else None
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="m-", dir=work)))
        plain = Plain(place / "plain", path)
        for number, cell in enumerate(wanted):
            name = str(cell)
            if name not in done:
                scene = Scene(place / str(number), plain, aws)
                try:
                    outcome = scene.play(cell, plain.start(cell.operation))
                    done[name] = list(outcome.faults)
                    said = outcome.said
                except AssertionError as error:
                    done[name], said = [f"could not be played: {error}"], ""
                finally:
                    scene.desk.close()
                shutil.rmtree(scene.folder, ignore_errors=True)
                done_file.write_text(json.dumps(done, indent=1))
                sys.stdout.write(f"{tool} {store} {name}: {'; '.join(done[name]) or 'ok'}\n")
                if done[name]:
                    sys.stdout.write("    " + said.replace("\n", "\n    ") + "\n")
                sys.stdout.flush()
    return {f"{tool} {store} {name}": done[name] for name in map(str, wanted)}


def _show(results: dict[str, list[str]]) -> int:
    """Print counts by Terraform and store, then what came out wrong."""
    columns: dict[str, list[int]] = {}
    for name, faults in results.items():
        counts = columns.setdefault(" ".join(name.split()[:2]), [0, 0])
        counts[bool(faults)] += 1
    for column, (good, bad) in columns.items():
        sys.stdout.write(f"{column:<32} {good} as they must be, {bad} not\n")
    wrong = {name: faults for name, faults in results.items() if faults}
    for name, faults in wrong.items():
        sys.stdout.write(f"  {name}: {'; '.join(faults)}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
