"""What must hold of a run that was hurt, read off what it left: every sentence returned here is a violation.

Nothing here asks the supervisor. The journal, the manifests, the register of instances and the process table are read for
themselves, so that a loop which deceives itself is found out.
"""

from collections import Counter
from collections.abc import Iterator

from launcher import processes
from launcher.adapters.cloud.local_registry import INSTANCE_VARIABLE
from launcher.app.proof import proof_of
from launcher.checkpoint import verify
from launcher.core.policy.base import Phase
from launcher.core.run import events as ev
from launcher.retention import chain_of
from scripts.drills.scene import Answer, Scene


def violations(scene: Scene, last: Answer) -> list[str]:
    """All that is wrong with a run whose last command, with `-o json`, answered `last`."""
    found = [*_answer(last), *_strays(scene)]
    if last.code != 0:
        return found
    return [*found, *_journal(scene), *_proof(scene), *_progress(scene), *_checkpoints(scene)]


def _answer(last: Answer) -> Iterator[str]:
    if last.code != 0:
        yield f"the last command ended with {last.code}"
    elif last.json["state"] != Phase.SUCCEEDED.value:
        yield f"the run ended {last.json['state']}"


def _strays(scene: Scene) -> Iterator[str]:
    for process in scene.sweep():
        yield f"process {process.pid} outlived the run"
    for instance in scene.instances():
        started = instance.started()
        if started is None:
            continue
        if processes.is_alive(started.host) or processes.marked(INSTANCE_VARIABLE, started.instance_id):
            yield f"something of instance {instance.name} lives"
        if instance.ended() is None:
            yield f"the end of instance {instance.name} was never written down"


def _journal(scene: Scene) -> Iterator[str]:
    history = scene.history()
    events = [record.event for record in history.records]
    requested = Counter(e.attempt for e in events if isinstance(e, ev.AttemptRequested))
    ended = Counter(e.attempt for e in events if isinstance(e, ev.InstanceEnded))
    for number, times in requested.items():
        if times != 1:
            yield f"attempt number {number} was used {times} times"
        if ended[number] != 1:
            yield f"the journal tells {ended[number]} ends of the instance of attempt {number}"
    created = {i.name for i in scene.instances()}
    if len(created) > len(requested):
        yield f"{len(created)} instances for {len(requested)} requests"


def _proof(scene: Scene) -> Iterator[str]:
    proof = proof_of(scene.history())
    if proof is None or not proof.compared or proof.has_failed:
        yield f"the proof failed: {proof.reason if proof else 'nothing to prove'}"


def _progress(scene: Scene) -> Iterator[str]:
    """No durable step lost: each writer was granted the newest commit there was, and went on from no earlier step."""
    history = scene.history()
    grants = [r.event for r in history.records if isinstance(r.event, ev.WriterGranted)]
    trained = {r.event.attempt: r.event.heartbeat for r in history.records if isinstance(r.event, ev.TrainingStarted)}
    newest, step = None, 0
    for grant in grants:
        if grant.parent != newest:
            yield f"attempt {grant.attempt} was granted {grant.parent}, and {newest} was the newest commit"
        beat = trained.get(grant.attempt)
        if beat is not None and (beat.restored_step != step or beat.set_aside):
            yield f"attempt {grant.attempt} went on from step {beat.restored_step}, and step {step} was durable"
        commits = list(scene.manifests(grant.attempt))
        if commits and commits[0].parent != newest:
            yield f"the first commit of attempt {grant.attempt} follows {commits[0].parent}, not {newest}"
        if commits:
            newest, step = commits[-1].ref, commits[-1].step


def _checkpoints(scene: Scene) -> Iterator[str]:
    """Whatever retention has left of the chain's newest checkpoints is whole, and none was set aside."""
    history = scene.history()
    store = scene.found().store
    chain = list(chain_of(history.state, store))
    for manifest in chain[:2]:
        for culprit in verify.verify(store, manifest.ref):
            yield f"checkpoint {manifest.ref}: {culprit}"
    if (code := scene.launch("ckpt", "verify", scene.run).code) != 0:
        yield f"launch ckpt verify answers {code}"
    for manifest in chain:
        for bad in manifest.set_aside:
            yield f"attempt {manifest.ref.attempt} set checkpoint {bad.ref} aside: {bad.culprit}"
