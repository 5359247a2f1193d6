"""Whether history is one chain: who may follow whom, which numbers stand, and that work once durable is never given up.

The store alone is asked: which manifests and seals were created, and when. What each record of a grant should have said is
worked out from those a second time.
"""

from collections.abc import Iterator

from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import JOURNAL_PREFIX
from launcher.core.run import events as ev
from launcher.sim.checkers.evidence import Evidence, Noted, believed, evidence_of
from launcher.sim.disaster import FaultyWorld


def lineage(world: FaultyWorld) -> Iterator[str]:
    """Every grant names the newest commit before the last writer's seal; every commit follows from its grant."""
    seen = evidence_of(world)
    for noted, standing in seen.prefixes():
        if isinstance(noted.event, ev.WriterGranted):
            yield from _judge_grant(seen, noted, noted.event, standing)
    for made in seen.manifests.values():
        yield from _judge_manifest(seen, made.commit)
    for attempt, seals in seen.seals.items():
        later = [ref for ref in seen.manifests if ref.attempt == attempt and ref.commit > seals[0].number]
        if later or len(seals) > 1:
            yield f"attempt {attempt} was sealed at {[s.number for s in seals]}, and has commits beyond: {[*map(str, later)]}"


def _judge_grant(seen: Evidence, noted: Noted, grant: ev.WriterGranted, standing: list[Noted]) -> Iterator[str]:
    before = standing[:-1]
    writers = {n.event.attempt for n in before if isinstance(n.event, ev.WriterGranted | ev.AttemptSealed)}
    last = max(writers, default=None)
    if last is not None and last >= grant.attempt:
        yield f"record {noted.number} grants attempt {grant.attempt} after attempt {last}"
        return
    expected: CommitRef | None = None
    if last is not None:
        seal = next(iter(seen.seals.get(last, [])), None)
        if seal is None or seal.at > noted.at:
            yield f"record {noted.number} grants attempt {grant.attempt}, and attempt {last} was not sealed"
            return
        expected = seen.newest_below(last, seal.number) or seen.granted_parent(last)
    branch = _last_turn(before)
    if isinstance(branch, ev.RunResumed):
        expected = branch.parent
    expected, parent = seen.past_bent(expected), seen.past_bent(grant.parent)
    if parent != expected:
        yield f"record {noted.number} grants attempt {grant.attempt} from {grant.parent}, and the chain ends at {expected}"
    yield from _judge_ancestors(seen, parent)


def _last_turn(before: list[Noted]) -> ev.WriterGranted | ev.RunResumed | None:
    """What decides the next grant's parent: the last grant, or a resume from elsewhere after it."""
    for event in (noted.event for noted in reversed(before)):
        if isinstance(event, ev.WriterGranted) or (isinstance(event, ev.RunResumed) and event.branched):
            return event
    return None


def _judge_ancestors(seen: Evidence, ref: CommitRef | None) -> Iterator[str]:
    """Back to step 0: commits of granted attempts only, each made under its own grant and before its seal."""
    numbers = {n.number: n for n in seen.records}
    while ref is not None:
        made = seen.manifests.get(ref)
        if made is None:
            yield f"{ref} is history, and was never committed"
            return
        grant = numbers.get(made.commit.grant)
        right = grant.event if grant is not None else None
        if not isinstance(right, ev.WriterGranted) or right.attempt != ref.attempt or (grant is not None and grant.at > made.at):
            yield f"{ref} is history, and was committed without a grant (record {made.commit.grant})"
        ref = made.commit.parent


def _judge_manifest(seen: Evidence, manifest: Manifest) -> Iterator[str]:
    ref, parent = manifest.ref, manifest.parent
    made = None if parent is None else seen.manifests.get(parent)
    if made is not None and made.sha256 != manifest.parent_sha256:
        yield f"{ref} was built on another {parent} than the one that was committed"
    before = seen.newest_below(ref.attempt, ref.commit)
    if before is not None:
        if parent != before:
            yield f"{ref} follows {parent}, and not its own attempt's commit before it, {before}"
        return
    granted = seen.granted_parent(ref.attempt)
    if parent == granted:
        return
    set_aside = {bad.ref for bad in manifest.set_aside}
    if granted is None or parent not in [seen.past_bent(granted), *ancestors(seen, granted)]:
        yield f"{ref} goes on from {parent}, which is no ancestor of {granted}, from where its attempt was to go on"
    elif granted not in set_aside:
        yield f"{ref} goes on from {parent}, and does not say what was wrong with {granted}"


def ancestors(seen: Evidence, ref: CommitRef) -> list[CommitRef]:
    """Those of `ref`, the nearest first."""
    found: list[CommitRef] = []
    at = seen.past_bent(ref)
    while at is not None and at in seen.manifests:
        at = seen.manifests[at].commit.parent
        if at is not None:
            found.append(at)
    return found


def progress(world: FaultyWorld) -> Iterator[str]:
    """Later grants start no earlier in training, except past a checkpoint that the world let rot, or where a person said so."""
    seen = evidence_of(world)
    for noted, standing in seen.prefixes():
        if not isinstance(noted.event, ev.WriterGranted):
            continue
        before = _last_turn(standing[:-1])
        if not isinstance(before, ev.WriterGranted) or seen.step(noted.event.parent) >= seen.step(before.parent):
            continue
        first = next((made for ref, made in seen.manifests.items() if ref.attempt == before.attempt), None)
        passed = [bad.ref for bad in first.commit.set_aside] if first else []
        if not passed or not all(seen.is_damaged(ref) for ref in passed):
            yield (
                f"attempt {before.attempt} went on from {before.parent} (step {seen.step(before.parent)}), attempt "
                f"{noted.event.attempt} from {noted.event.parent} (step {seen.step(noted.event.parent)}); passed over: {passed}"
            )


CREATED_ONCE = ("/commits/", "/claim.json", "/exit.json", "/notices/", "/requested.json")


def numbers(world: FaultyWorld) -> Iterator[str]:
    """What is created once stays as it was, no number means two things, and what a writer believed to have written stands."""
    store, seen = world.store, evidence_of(world)
    lasting: dict[str, bytes] = {}
    for written in store.log:
        if written.key.startswith(JOURNAL_PREFIX) or any(part in written.key for part in CREATED_ONCE):
            if written.data is None or written.key in lasting:
                yield f"{written.key} was {'deleted' if written.data is None else 'created again'}"
            else:
                lasting[written.key] = written.data
    present = {meta.key for meta in store.list("")}
    for key, data in lasting.items():
        if key not in seen.damaged and (key not in present or store.get(key) != data):
            yield f"{key} is not what was created there"
    requested = [n.event.attempt for n in seen.records if isinstance(n.event, ev.AttemptRequested)]
    for attempt in {a for a in requested if requested.count(a) > 1}:
        yield f"attempt {attempt} was requested {requested.count(attempt)} times"
    if [n.number for n in seen.records] != list(range(1, len(seen.records) + 1)):
        yield f"the journal's numbers are {[n.number for n in seen.records]}"
    for told, noted in believed(world):
        if noted is None:
            yield f"{told.supervisor} believes it has journaled {type(told.event).__name__}, and no record says so"
