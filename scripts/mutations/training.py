"""Bugs on the machine: claim, restore, commit and the end of the money."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from launcher import codec, loop
from launcher.adapters.store.base import ObjectStore
from launcher.checkpoint import format as layout
from launcher.checkpoint.commit import Committer, Draft
from launcher.checkpoint.format import Source
from launcher.checkpoint.restore import Restored
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, FileEntry, Manifest
from launcher.core.contract import (
    METRICS_FILE,
    AgentPhase,
    AttemptSpec,
    Claim,
    ExitKind,
    ExitReport,
    Heartbeat,
    claim_key,
    exit_key,
    save_prefix,
)
from launcher.errors import KeyExists
from launcher.sim import machine, trainer
from launcher.sim.faults import Fault
from launcher.units import Step
from scripts.mutations.mutant import Mutant, Swap, has_budget

Claims = Callable[[ObjectStore, Claim], bool]


def _claim_unread(claim: Claims) -> Any:
    def wrong(store: ObjectStore, mine: Claim) -> bool:
        with contextlib.suppress(KeyExists):
            store.create(claim_key(mine.attempt), codec.dumps_digested(mine))
        return True

    return wrong


def _loser_reports(claim: Claims) -> Any:
    def wrong(store: ObjectStore, mine: Claim) -> bool:
        is_mine = claim(store, mine)
        if not is_mine:
            last = Heartbeat(attempt=mine.attempt, nonce=mine.nonce, sequence=1, at=0.0, phase=AgentPhase.WAITING)
            report = ExitReport(
                attempt=mine.attempt, nonce=mine.nonce, at=0.0, outcome=ExitKind.DRAINED, reason="claimed by another", last=last
            )
            with contextlib.suppress(KeyExists):
                store.create(exit_key(mine.attempt), codec.dumps_digested(report))
        return is_mine

    return wrong


def _newest_listed(restore: Callable[..., Restored]) -> Any:
    def wrong(store: ObjectStore, *, parent: CommitRef, **others: Any) -> Restored:
        found = [manifests.read(store.get(meta.key)) for meta in store.list("attempts/") if "/commits/" in meta.key]
        newest = max((commit.ref for commit in found if isinstance(commit, Manifest)), default=parent)
        return restore(store, parent=newest, **others)

    return wrong


def _manifest_first(publish: Callable[..., Manifest]) -> Any:
    def wrong(committer: Committer, sources: Any, draft: Draft, *, metrics: Callable[[Step], bytes]) -> Manifest:
        committer.settle()
        committer._num_saves += 1
        everything = (*sources, layout.bytes_source(METRICS_FILE, metrics(committer.parent_step)))
        manifest = committer._manifest(draft, tuple(_described(committer, source) for source in everything))
        committer._pending = (manifest, manifests.write(manifest))
        committer.settle()
        for source in everything:
            committer._upload(source)
        return manifest

    return wrong


def _described(committer: Committer, source: Source) -> FileEntry:
    """What the manifest says of a file that is not there yet."""
    digests = layout.PieceDigests()
    for _ in digests.passing(source.chunks()):
        pass
    return layout.file_entry(source, save_prefix(committer._author.attempt, committer._num_saves) + source.path, digests)


def _no_stop_at(attempt_spec: Callable[..., AttemptSpec]) -> Any:
    return lambda state, attempt, url: replace(attempt_spec(state, attempt, url), stop_at=None)


MUTANTS = (
    Mutant(
        name="skip the claim",
        breaks="Of two agents of one attempt both take it for theirs, and train.",
        killer="one-trainer",
        swaps=(Swap(machine, "claim", _claim_unread),),
        only=frozenset({Fault.START_REPEATED}),
    ),
    Mutant(
        name="the claim's loser reports",
        breaks="The agent that lost the claim writes an exit report, which the supervisor takes for its winner's end.",
        killer="claims",
        swaps=(Swap(machine, "claim", _loser_reports),),
        only=frozenset({Fault.START_REPEATED}),
    ),
    Mutant(
        name="restore by listing",
        breaks="An attempt goes on from the newest checkpoint that a listing shows, and not from its grant's parent.",
        killer="redone-work",
        swaps=(Swap(trainer, "restore", _newest_listed),),
        only=frozenset({Fault.LIST_LATE, Fault.NOTICE_WITHDRAWN}),
    ),
    Mutant(
        name="manifest before shards",
        breaks="A checkpoint exists before its files do.",
        killer="order",
        swaps=(Swap(Committer, "publish", _manifest_first),),
        only=frozenset({Fault.CREATE_FAILED}),
    ),
    Mutant(
        name="ignore stop_at",
        breaks="A machine trains on past the instant at which its price would exhaust the budget.",
        killer="limits",
        swaps=(Swap(loop, "attempt_spec", _no_stop_at),),
        fits=has_budget,
    ),
)
