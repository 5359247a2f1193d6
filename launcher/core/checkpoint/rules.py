"""When to save, and which checkpoints to leave lying.

Saving costs a stall each time; not saving costs the work since the last save each time the machine goes. Between the two lies
an interval that loses least. It needs two measured times, the stall and the mean life, and both are known after one save.
Deleting is the reverse question: a run is resumed from its newest checkpoint, so older ones are kept only because somebody asked.
"""

import math
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Manifest
from launcher.core.contract import METRICS_FILE, PINS_PREFIX, KeepRule, SaveRule, save_prefix
from launcher.core.recipe import CheckpointSpec, Keep, every_seconds, every_steps
from launcher.units import Seconds, Step

Candidate = tuple[CommitRef, Step, float | None]  # a commit of the chain, its step, its loss where one is known


def save_interval(stall: Seconds, life: Seconds, durable: Seconds, max_loss: Seconds) -> Seconds:
    """Time between checkpoints that loses least work on average, all arguments in one clock.

    Young's first-order optimum sqrt(2 * stall * life) (Young 1974, "A first order approximation to the optimum checkpoint
    interval", CACM 17:9); good while stall << life. Not above `max_loss`, which the user set, and never below `durable`: the
    next save waits until the one before it has landed. `stall` is the time training stands still, not the upload.
    Raises ValueError for a negative time or a life of nothing.
    """
    if min(stall, durable, max_loss) < 0 or life <= 0:
        raise ValueError(f"save_interval needs times >= 0 and a life > 0: {stall=} {life=} {durable=} {max_loss=}")
    return max(durable, min(max_loss, math.sqrt(2 * stall * life)))


def save_rule(spec: CheckpointSpec, life: Seconds) -> SaveRule:
    """`checkpoint.every` as the machine is told it, for a placement of this mean life."""
    return SaveRule(
        never=spec.every == "never",
        seconds=every_seconds(spec.every),
        steps=every_steps(spec.every),
        max_loss=spec.max_loss,
        mean_life=life,
        on_notice=spec.on_notice,
    )


def keep_rule(keep: Keep) -> KeepRule:
    """`checkpoint.keep` as the machine is told it."""
    return KeepRule(last=keep.last, best=keep.best, every_steps=every_steps(keep.every) if keep.every else None)


def expendable(commits: Iterable[Candidate], rule: KeepRule, protected: AbstractSet[CommitRef]) -> frozenset[CommitRef]:
    """The commits whose shards may be deleted: those that neither `rule` nor `protected` keeps.

    The newest commit is always kept, whatever the rule says. `protected` holds the grants' parents, their fallbacks and the pins.
    """
    chain = sorted(commits)
    kept = _last(chain, max(rule.last, 1)) | _best(chain, rule.best) | _milestones(chain, rule.every_steps) | set(protected)
    return frozenset(ref for ref, _, _ in chain if ref not in kept)


def shards_of(manifest: Manifest) -> tuple[FileEntry, ...]:
    """What goes when a commit is let go: the files of its own save without its metrics; all of them missing is no damage.

    A save that brought no file of its own goes with the older ones whose files it names.
    """
    own = save_prefix(manifest.ref.attempt, manifest.save)
    shards = tuple(file for file in manifest.files if file.path != METRICS_FILE)
    return tuple(file for file in shards if file.key.startswith(own)) or shards


def pinned(keys: Iterable[str]) -> frozenset[CommitRef]:
    """The commits that the keys under `pins/` keep; a key that names none is nobody's pin."""
    return frozenset(ref for key in keys if (ref := _pinned(key)) is not None)


def _pinned(key: str) -> CommitRef | None:
    try:
        return CommitRef.parse(key.removeprefix(PINS_PREFIX).removesuffix(".json"))
    except ValueError:
        return None


def _last(chain: list[Candidate], count: int) -> set[CommitRef]:
    return {ref for ref, _, _ in chain[-count:]}


def _best(chain: list[Candidate], count: int) -> set[CommitRef]:
    """Lowest loss first; of equal ones the newest, since more training is behind it."""
    known = [(loss, -place, ref) for place, (ref, _, loss) in enumerate(chain) if loss is not None and math.isfinite(loss)]
    return {ref for _, _, ref in sorted(known)[:count]}


def _milestones(chain: list[Candidate], every_steps: int | None) -> set[CommitRef]:
    """The first commit at or after each multiple of `every_steps`: saves do not fall on round numbers."""
    if every_steps is None:
        return set()
    first: dict[int, CommitRef] = {}
    for ref, step, _ in chain:
        if step >= every_steps:
            first.setdefault(step // every_steps, ref)
    return set(first.values())
