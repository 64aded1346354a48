"""`python -m tests.chaos --seconds 240 --seed 7`: make trouble, then judge; exits 1 when a promise was broken."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.trouble import Plan, make_trouble
from tests.chaos.verdict import judge


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=240.0, help="how long trouble is made")
    parser.add_argument("--seed", type=int, default=None, help="of the random choices; printed, to repeat a run")
    parser.add_argument("--pipelines", type=int, default=4, help="front ends at once")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="interlock-chaos-"))
    sys.stdout.write(f"chaos: seed {seed}, {options.seconds:g} s, {options.pipelines} pipelines, in {folder}\n")
    sys.stdout.flush()
    plan = Plan(seed=seed, seconds=options.seconds, pipelines=options.pipelines)
    story = make_trouble(folder, plan)
    broken = judge(story)
    sys.stdout.write(story.summary() + "\n")
    for line in broken:
        sys.stdout.write(f"BROKEN {line}\n")
    if not broken and not options.keep:
        shutil.rmtree(folder)
    else:
        sys.stdout.write(f"kept {folder}; repeat with --seed {seed}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
