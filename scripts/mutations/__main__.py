"""`scripts/mutants`: deliberate bugs, each to be noticed by a checker. Exit code 1 where one survives, or a checker notices none.

scripts/mutants [--only NAME ...] [--jobs N]
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

from launcher.sim.checkers.base import CHECKERS
from launcher.sim.sweep import cores
from scripts.mutations.hunt import Catch, hunt_all
from scripts.mutations.mutant import Mutant
from scripts.mutations.roll import MUTANTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description="Deliberate bugs, each to be noticed by a checker.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[m.name for m in MUTANTS], help="these and no others")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes (default: all cores)")
    args = parser.parse_args()
    mutants = [m for m in MUTANTS if args.only is None or m.name in args.only]
    began = time.monotonic()
    catches = []
    print(f"{'mutant':42} {'noticed by':16} worlds  faults; also noticed by", flush=True)
    for mutant, catch in zip(mutants, hunt_all(mutants, num_processes=args.jobs), strict=True):
        catches.append(catch)
        print(line(mutant, catch), flush=True)
    if args.only is None:
        print("\n".join(["", *by_checker(catches)]))
    survivors = [catch for catch in catches if catch.seed is None]
    idle = [name for name in CHECKERS if args.only is None and not killed_by(name, catches)]
    cpu = sum(catch.cpu for catch in catches)
    print(
        f"\n{len(catches) - len(survivors)} of {len(catches)} mutants noticed, {len(idle)} of {len(CHECKERS)} checkers none; "
        f"{time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU"
    )
    return int(bool(survivors or idle))


def line(mutant: Mutant, catch: Catch) -> str:
    faults = "drawn by the seed" if mutant.only is None else ", ".join(sorted(f.value for f in mutant.only)) or "none"
    killer = catch.killer if catch.seed is not None else "SURVIVED"
    worlds = f"{catch.num_worlds}/{mutant.seeds_most}"
    return f"{mutant.name:42} {killer:16} {worlds:>6}  {faults}; {', '.join(catch.others) or 'nobody'}  {catch.cpu:.1f} s"


def by_checker(catches: Sequence[Catch]) -> Iterator[str]:
    """What each checker killed, the mutants that it was named for first."""
    for name in CHECKERS:
        yield f"{name:18} {', '.join(killed_by(name, catches)) or 'NONE'}"


def killed_by(checker: str, catches: Sequence[Catch]) -> list[str]:
    """The mutants that were noticed by `checker` as the one that must."""
    return [catch.mutant for catch in catches if catch.seed is not None and catch.killer == checker]


if __name__ == "__main__":
    sys.exit(main())
