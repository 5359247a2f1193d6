"""What must be written before what. The store's log is in the order of happening, finer than any clock."""

from collections.abc import Iterator

from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import Manifest, Sealed
from launcher.core.contract import journal_key
from launcher.core.run import events as ev
from launcher.sim.checkers.evidence import evidence_of
from launcher.sim.disaster import FaultyWorld

# Any of these tells that an attempt is over; the last implies it, where the record that told is void.
ENDS = (ev.AttemptExited, ev.AttemptLost, ev.AttemptRefused, ev.InstanceEnded)


def order(world: FaultyWorld) -> Iterator[str]:
    """A checkpoint's files come before its manifest, and the record of an attempt's end before its seal."""
    ended = {journal_key(n.number): n.event.attempt for n in evidence_of(world).records if isinstance(n.event, ENDS)}
    has_void = any(isinstance(n.event, ev.RecordVoided) for n in evidence_of(world).records)
    over: set[int] = set()
    created: set[str] = set()
    for written in world.store.log:
        if written.data is None:
            continue
        created.add(written.key)
        if written.key in ended:
            over.add(ended[written.key])
        if "/commits/" not in written.key:
            continue
        match manifests.read(written.data):
            case Manifest(ref=ref, files=files):
                missing = [file.key for file in files if file.key not in created]
                if missing:
                    yield f"{ref} was committed before {missing[0]} was there"
            case Sealed(ref=ref):
                # A hole may have told the end: what stands after it implies that the attempt is over.
                if ref.attempt not in over and not has_void:
                    yield f"attempt {ref.attempt} was sealed before its end was written"
