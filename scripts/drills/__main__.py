"""`scripts/drill`: kill what trains, again and again, and see whether anything is lost. Exit code 1 on any violation.

scripts/drill --kills 40 --seed 1 [--target supervisor|machine|tick|all] [--keep DIR]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scripts.drills import machine, supervisor, tick
from scripts.drills.figures import Figures

DRILLS: dict[str, Callable[[int, int, Path, Callable[[str], None]], Figures]] = {
    "supervisor": supervisor.drill,
    "machine": machine.drill,
    "tick": tick.drill,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/drill", description="Kill parts of real runs and look what is lost.")
    parser.add_argument("--kills", type=int, default=40, help="of each target")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds draw equal moments")
    parser.add_argument("--target", choices=(*DRILLS, "all"), default="all")
    parser.add_argument("--keep", metavar="DIR", help="keep the runs there, for a look")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="launch-drill-") as scratch:
        folder = Path(args.keep or scratch).absolute()
        targets = list(DRILLS) if args.target == "all" else [args.target]
        has_failed = [_drill(target, args.kills, args.seed, folder) for target in targets]
    return int(any(has_failed))


def _drill(target: str, kills: int, seed: int, folder: Path) -> bool:
    """Whether anything was violated."""
    began = time.monotonic()
    figures = DRILLS[target](kills, seed, folder, lambda line: print(line, file=sys.stderr, flush=True))
    print("\n".join(figures.lines()))
    print(f"  in {time.monotonic() - began:.0f} s", flush=True)
    return bool(figures.violations)


if __name__ == "__main__":
    sys.exit(main())
