"""`launch ckpt ls|verify [RUN [REF]]`, `launch ckpt pin|unpin RUN REF`: which checkpoints there are, whether they are whole, and
keeping one for good."""

import argparse
import sys
from collections.abc import Iterator

from launcher import codec
from launcher.adapters.history import History
from launcher.app.answer import moment, print_answer, table
from launcher.app.checkpoints import Checkpoint, checkpoints_of, is_complete, meant, parse_ref
from launcher.app.counting import told, unit_of
from launcher.app.home import Found
from launcher.app.looking import looked_at, span
from launcher.app.requests import somebody
from launcher.checkpoint import verify
from launcher.codec import Json
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import Pin, pin_key
from launcher.errors import KeyExists, KeyMissing, StoreError, UsageError
from launcher.units import Utc, show_size

NUM_LISTED_MOST = 20  # a long run has hundreds, and one asks about the newest

Culprits = dict[CommitRef, list[str]]


def run(args: argparse.Namespace) -> int:
    if args.action in ("pin", "unpin"):
        _needed(args)  # before a run is looked for: what was typed as RUN may have been meant as REF
    found = looked_at(args)
    if args.run is None and not args.quiet:
        print(f"run {found.head.run}", file=sys.stderr)
    history = found.read()
    unit = unit_of(history.state) if history.is_created else "step"
    match args.action:
        case "ls":
            return _ls(args, found, history, unit)
        case "verify":
            return _verify(args, found, checkpoints_of(history), unit)
        case "pin":
            return _pin(args, found, meant(checkpoints_of(history), _needed(args)), unit)
        case _:
            return _unpin(args, found, history)


def _needed(args: argparse.Namespace) -> str:
    if args.ref is None:
        raise UsageError(
            f"`launch ckpt {args.action}` needs RUN and REF, a REF such as 0003-0007, a step, or newest; "
            "`launch ckpt ls RUN` lists them"
        )
    return str(args.ref)


# --- ls ------------------------------------------------------------------------------------------------------------------------


def _ls(args: argparse.Namespace, found: Found, history: History, unit: str) -> int:
    if args.ref is not None:
        raise UsageError(f"`launch ckpt ls` lists all; `launch ckpt verify {args.run} {args.ref}` looks at one")
    now, speed = found.market_now(history), history.state.speed
    known = checkpoints_of(history)
    if not known and not args.quiet:
        print("no checkpoint yet", file=sys.stderr)
    head = ("REF", unit.upper(), "AGE", "SIZE", "PARENT", "STATE")
    listed = known if args.all else known[:NUM_LISTED_MOST]
    lines = table([head, *(_row(c, now, speed) for c in listed)], right=frozenset({1, 3})) if known else []
    if num_more := len(known) - len(listed):
        lines.append(f"and {num_more} older; `{found.addressed(f'launch ckpt ls {found.head.run} --all')}` lists them too")
    print_answer(args, {"run": found.head.run, "checkpoints": [_json(c, now, speed, unit) for c in known]}, lines)
    return 0


def _row(c: Checkpoint, now: Utc, speed: float) -> tuple[str, ...]:
    m = c.manifest
    return (
        str(c.ref),
        "?" if m is None else str(m.step),
        "new" if c.seen_at is None else span(max(0.0, now - c.seen_at), speed),
        "?" if m is None else show_size(m.size),
        "?" if m is None else str(m.parent or "the start"),
        ", ".join(_marks(c)),
    )


def _marks(c: Checkpoint) -> Iterator[str]:
    m = c.manifest
    if not c.in_history:
        yield "not history"
    if m is None:
        yield "manifest cannot be read"
    else:
        yield "kept" if c.kept else "let go" if c.let_go else "files missing"
    if c.seen_at is None:
        yield "no supervisor saw it yet"
    if c.pinned:
        yield "pinned"
    if m is not None and m.finished:
        yield "finished"
    if m is not None and m.urgent:
        yield "urgent"
    if c.set_aside is not None:
        yield f"set aside: {c.set_aside}"


def _json(c: Checkpoint, now: Utc, speed: float, unit: str) -> dict[str, Json]:
    m = c.manifest
    return {
        "ref": str(c.ref),
        **told(_step(c), unit),
        "loss": m.loss if m else None,
        "seen_at": None if c.seen_at is None else moment(c.seen_at),
        "age_s": None if c.seen_at is None else round(max(0.0, now - c.seen_at) / speed, 3),
        "bytes": m.size if m else None,
        "files": len(m.files) if m else None,
        "parent": str(m.parent) if m and m.parent else None,
        "readable": m is not None,
        "in_history": c.in_history,
        "kept": c.kept,
        "let_go": c.let_go,
        "pinned": c.pinned,
        "finished": bool(m and m.finished),
        "urgent": bool(m and m.urgent),
        "set_aside": c.set_aside,
    }


# --- verify --------------------------------------------------------------------------------------------------------------------


def _verify(args: argparse.Namespace, found: Found, known: tuple[Checkpoint, ...], unit: str) -> int:
    """Reads every byte that is kept. 6 where the newest (or the one named) is bad, else 0."""
    chosen = [meant(known, args.ref)] if args.ref is not None else [c for c in known if c.in_history and not c.let_go]
    if not chosen:
        raise UsageError(f"{found.head.run} has no checkpoint yet")
    if chosen[0].let_go:
        raise UsageError(f"the bytes of {chosen[0].ref} were let go by checkpoint.keep; there is nothing to verify")
    if not args.quiet:
        total = show_size(sum(c.manifest.size for c in chosen if c.manifest))
        print(f"reading {len(chosen)} checkpoint{'s' if len(chosen) > 1 else ''}, {total}", file=sys.stderr)
    culprits = {c.ref: verify.verify(found.store, c.ref) for c in chosen}
    chosen = _still_meant(chosen, culprits, found)
    good = next((c for c in chosen if not culprits[c.ref]), None)
    document: dict[str, Json] = {
        "run": found.head.run,
        "good": not culprits[chosen[0].ref],
        "newest_good": str(good.ref) if good else None,
        "checkpoints": [{"ref": str(c.ref), **told(_step(c), unit), "culprits": culprits[c.ref]} for c in chosen],
    }
    print_answer(args, document, [*_verdicts(chosen, culprits, unit), *_fallback(found, chosen[0], good, culprits, args, unit)])
    return StoreError.exit_code if culprits[chosen[0].ref] else 0


def _still_meant(chosen: list[Checkpoint], culprits: Culprits, found: Found) -> list[Checkpoint]:
    """Without those that a run which trains meanwhile let go of while they were read."""
    bad = {ref for ref, culprit in culprits.items() if culprit}
    let_go = {c.ref for c in checkpoints_of(found.read()) if c.let_go} if bad else set()
    still = [c for c in chosen if c.ref not in bad & let_go]
    if not still:
        raise UsageError(f"the bytes of {chosen[0].ref} were let go by checkpoint.keep while they were read; verify a newer one")
    return still


def _step(c: Checkpoint) -> int | None:
    return c.manifest.step if c.manifest else None


def _verdicts(chosen: list[Checkpoint], culprits: Culprits, unit: str) -> Iterator[str]:
    for c in chosen:
        name = f"{c.ref}  {unit} {'?' if c.manifest is None else c.manifest.step}"
        if culprits[c.ref]:
            yield from (f"{name}  BAD: {culprit}" for culprit in culprits[c.ref])
        else:
            assert c.manifest is not None, "what cannot be read is bad"
            yield f"{name}  ok ({show_size(c.manifest.size)} in {len(c.manifest.files)} files)"


def _fallback(
    found: Found, first: Checkpoint, good: Checkpoint | None, culprits: Culprits, args: argparse.Namespace, unit: str
) -> list[str]:
    if not culprits[first.ref] or args.ref is not None:
        return []
    if good is None:
        return [found.addressed(f"no checkpoint is whole; `launch resume {found.head.run} --from 0` starts over")]
    return [f"the newest is bad; a resume sets it aside and goes on from {good.ref}, {unit} {_step(good)}, which is whole"]


# --- pins ----------------------------------------------------------------------------------------------------------------------


def _pin(args: argparse.Namespace, found: Found, c: Checkpoint, unit: str) -> int:
    if c.manifest is None:
        raise UsageError(f"the manifest of {c.ref} cannot be read, so there is nothing to pin; `launch ckpt verify` tells more")
    if not c.kept:
        raise UsageError(f"the bytes of {c.ref} are no longer there, so a pin would keep nothing")
    said = _create_pin(args, found, c, unit)
    print_answer(args, {"run": found.head.run, "ref": str(c.ref), **told(_step(c), unit), "pinned": not args.dry_run}, [said])
    return 0


def _create_pin(args: argparse.Namespace, found: Found, c: Checkpoint, unit: str) -> str:
    assert c.manifest is not None, "checked by the caller"
    name = f"{c.ref} ({unit} {c.manifest.step})"
    if args.dry_run:
        return f"would pin {name}"
    try:
        found.store.create(pin_key(c.ref), codec.dumps(Pin(ref=c.ref, by=somebody())))
    except KeyExists:
        return f"{name} is pinned already"
    # Retention reads the pins before it deletes: one that was deleting just now may not have seen this one.
    if not is_complete(found.store, c.manifest):
        found.store.delete(pin_key(c.ref))
        raise StoreError(f"{name} was deleted by retention at this very moment; pin another")
    return f"pinned {name}: retention leaves it alone"


def _unpin(args: argparse.Namespace, found: Found, history: History) -> int:
    text = _needed(args)
    ref = parse_ref(text) if "-" in text else meant(checkpoints_of(history), text).ref
    try:
        found.store.get(pin_key(ref))
    except KeyMissing:
        shows = found.addressed(f"`launch ckpt ls {found.head.run}` shows what is")
        raise UsageError(f"{ref} is not pinned; {shows}") from None
    if not args.dry_run:
        found.store.delete(pin_key(ref))
    said = f"{'would unpin' if args.dry_run else 'unpinned'} {ref}: checkpoint.keep decides about it now"
    print_answer(args, {"run": found.head.run, "ref": str(ref), "pinned": args.dry_run}, [said])
    return 0
