"""The manifest: the one small object whose existence makes a checkpoint exist.

Shards are uploaded under a save's prefix first; the manifest is created last, under the attempt's next commit number, and it
names every shard with its digests. So a reader that sees a manifest may trust what it names, and a half-written save is nothing.
`Sealed` ends an attempt's commits by taking the next number: after it no manifest of that attempt can exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher import codec
from launcher.codec import Json
from launcher.errors import StoreUnusable
from launcher.units import Bytes, Seconds, Step

MANIFEST_VERSION = 1
PIECE_BYTES: Bytes = 16 * 2**20  # 16 MB pieces let a partial read be verified (checkpoint.md, section 7)


@dataclass(frozen=True, slots=True, order=True)
class CommitRef:
    """Names one commit of one attempt; printed and pinned as "0003-0007"."""

    attempt: int
    commit: int

    def __str__(self) -> str:
        return f"{self.attempt:04d}-{self.commit:04d}"

    @staticmethod
    def parse(text: str) -> "CommitRef":
        """Reads "0003-0007" or "3-7". Raises ValueError."""
        attempt, _, commit = text.partition("-")
        return CommitRef(int(attempt), int(commit))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One object of a checkpoint. `key` is relative to the run, so a manifest may name a file of an earlier save.

    `pieces` are XXH3-64 (hex) of each PIECE_BYTES of the file. `header` is the XXH3-64 of a safetensors header (its length
    prefix included), None for other files. `path` is the name the file has when restored into a folder.
    """

    path: str
    key: str
    size: Bytes
    pieces: tuple[str, ...]
    header: str | None = None
    tensors: dict[str, str] = field(default_factory=dict)  # tensor name -> XXH3-64 of its bytes
    aliases: dict[str, str] = field(default_factory=dict)  # tied tensor name -> the name it is stored under
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A checkpoint that restore found bad, with the part that was wrong."""

    ref: CommitRef
    culprit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A durable checkpoint. `parent` is what this attempt restored from or its own commit before this one."""

    version: int = MANIFEST_VERSION
    run: str
    incarnation: str
    ref: CommitRef
    save: int  # the save number, whose prefix holds this commit's own files
    grant: int  # journal number of the WriterGranted this was written under
    nonce: str  # the agent's claim nonce
    parent: CommitRef | None
    parent_sha256: str | None
    step: Step  # under `run:` the number of commits so far along the chain
    loss: float | None = None  # of that step, where one is known and finite: retention may keep the best
    files: tuple[FileEntry, ...]
    world_size: int = 1
    mesh: tuple[int, ...] = (1,)
    set_aside: tuple[SetAside, ...] = ()
    finished: bool = False  # training has reached its last step
    urgent: bool = False  # saved at a notice or a stop
    stall_s: Seconds = 0.0  # real seconds that training stood still for this save
    durable_s: Seconds = 0.0  # real seconds from the call until its shards were durable
    facts: dict[str, str] = field(default_factory=dict)  # torch version, threads, corpus digest, …: compared on resume

    @property
    def size(self) -> Bytes:
        return sum(f.size for f in self.files)

    @property
    def tells_steps(self) -> bool:
        """A trainer of ours tells its steps and notes what it ran on; of a folder that was published neither is known."""
        return bool(self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """No commit of `attempt` can follow. `ref.commit` is the number it took."""

    run: str
    incarnation: str
    ref: CommitRef
    supervisor: str
    nonce: str


Commit = Manifest | Sealed


def write(commit: Commit) -> bytes:
    return codec.dumps_digested(commit)


def sha256_of(data: bytes) -> str:
    """What a child manifest records of its parent: the digest of the parent's object as stored."""
    return codec.digest_of(data)


def read(data: bytes) -> Commit:
    """Raises ValueError where the bytes are not a whole commit; StoreUnusable for a whole one by a newer launch: no damage."""
    raw: Json = codec.loads_digested(Json, data)
    version = raw.get("version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise StoreUnusable(f"the manifest of a checkpoint, version {version}, was written by a newer launch; upgrade this one")
    commit: Commit = codec.decode(Commit, raw)
    return commit


Grants = Mapping[int, CommitRef | None]  # attempt -> the parent it was granted with


def before(ref: CommitRef, found: Manifest | None, grants: Grants) -> CommitRef | None:
    """One step down the history: the parent that the manifest at `ref` names.

    Where that cannot be read, the chain is still known: the number below, and below the first the parent of the attempt's grant.
    """
    if found is not None:
        return found.parent
    return CommitRef(ref.attempt, ref.commit - 1) if ref.commit > 1 else grants.get(ref.attempt)
