"""`scripts/soak`: seeded disasters, each judged by every checker. Exit code 1 on a violation, or where a fault never fired.

scripts/soak --seeds 10000 [--from N] [--only FAULT ...] [--jobs N]     many
scripts/soak --seed N [-v] [--only FAULT ...]                           one; -v tells its story

FAULT is a name as in launcher/sim/faults.py, such as CREATE_LATE; with --only every world has these faults and no others.
"""

import argparse
import sys
import time
from collections.abc import Iterator

from launcher.sim.checkers.base import Violation, judge
from launcher.sim.checkers.tale import tale
from launcher.sim.disaster import FaultyWorld
from launcher.sim.faults import Fault
from launcher.sim.seeds import world_of
from launcher.sim.soak import Only, Tally, Verdict, silence, soak, tally
from launcher.sim.sweep import cores
from launcher.units import HOUR, Utc

SHOWN_EVERY = 500  # seeds, where people watch
WORDS_MOST = 110


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Seeded disasters, each judged by every checker.")
    parser.add_argument("--seeds", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--only", nargs="+", metavar="FAULT", choices=[f.name for f in Fault], help="these faults and no others")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes (default: all cores)")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: tell its story")
    args = parser.parse_args()
    only = None if args.only is None else frozenset(Fault[name] for name in args.only)
    if args.seed is not None:
        return _one(args.seed, only, tells=args.verbose)
    return _many(range(args.first, args.first + args.seeds), only, args.jobs)


def _one(seed: int, only: Only, *, tells: bool) -> int:
    world = world_of(seed, only=only)
    with silence():
        world.play()
        violations = judge(world)
    if tells:
        print("\n".join(story(world)))
    for violation in violations:
        print(_said(violation, only))
    return int(bool(violations))


def _many(seeds: range, only: Only, jobs: int) -> int:
    began = time.monotonic()
    verdicts: list[Verdict] = []
    for verdict in soak(seeds, only=only, num_processes=jobs):
        verdicts.append(verdict)
        for violation in verdict.violations:
            print(_said(violation, only), flush=True)
        if sys.stderr.isatty() and len(verdicts) % SHOWN_EVERY == 0:
            print(f"{len(verdicts)} of {len(seeds)} seeds", file=sys.stderr)
    found = tally(verdicts)
    print("\n".join(_summary(found, only, time.monotonic() - began, jobs)))
    return int(bool(found.violations or found.silent(only)))


def _said(violation: Violation, only: Only) -> str:
    again = f"scripts/soak --seed {violation.seed} -v"
    if only is not None:
        again += " --only " + " ".join(sorted(fault.name for fault in only))
    return f"seed {violation.seed}  {violation.checker}: {violation.what}   ({again})"


def _summary(found: Tally, only: Only, wall: float, jobs: int) -> Iterator[str]:
    yield f"{'fault':34} {'fired':>8} {'in seeds':>8}"
    for fault in Fault:
        if only is None or fault in only:
            yield f"{fault.value:34} {found.fired[fault]:8} {found.seeds_of[fault]:8}"
    yield f"{found.num_seeds} seeds, {len(found.violations)} violations"
    cpu = found.cpu / max(1, found.num_seeds)
    yield f"{wall:.0f} s on {jobs} processes, {cpu:.3f} s of CPU a seed"
    for fault in found.silent(only):
        yield f"never fired: {fault.value}"


def story(world: FaultyWorld) -> Iterator[str]:
    """What was planned, who lived, what was journaled, and which machines there were; hours since the run's start."""
    yield "faults: " + ", ".join(sorted(fault.name for fault in world.plan.kinds))
    yield from (f"  {_hours(world, s.start)} to {_hours(world, s.end)}  {s.fault.value}" for s in world.plan.spans)
    yield from (f"  {_hours(world, at)}  {fault.value}" for at, fault in world.plan.moments)
    yield from (f"  {_hours(world, at)}  rots: {key}" for at, key in world.store.damaged)
    yield "supervisors:"
    for life in world.lives:
        end = _hours(world, life.ended_at) if life.ended_at is not None else "now"
        asked = ", insisting" if life.insists else ""
        yield f"  {life.supervisor.name}{asked}  {_hours(world, life.started_at)} to {end}  {life.outcome} {life.error or ''}"
    yield "journal:"
    for told in tale(world):
        words = f"{told.record.number:4} {told.record.writer:7} {type(told.event).__name__:17} {told.event}"
        yield f"  {_hours(world, told.at)} {words[: WORDS_MOST * 2]}"
    yield "machines:"
    for instance in world.cloud.instances.values():
        end = "" if instance.ended_at is None else _hours(world, instance.ended_at)
        up = "" if instance.billed_from is None else _hours(world, instance.billed_from)
        place = instance.spec.placement.place
        yield f"  {instance.name} {place}  asked {_hours(world, instance.requested_at)} up {up} end {end} {instance.cause.value}"
    yield f"ended: {'never' if world.ended_at is None else _hours(world, world.ended_at)}"


def _hours(world: FaultyWorld, at: Utc) -> str:
    return f"{(at - world.start) / HOUR:8.4f} h"


if __name__ == "__main__":
    sys.exit(main())
