"""The folder that remembers which runs were seen here, and how a run is found again.

A run lives whole in its store, wherever that is; the home only holds an index from names to store URLs, the default place for
local runs, and logs. So losing a home loses no work: a run is found by its store URL from any other.

    HOME/runs/RUN/          the store of a run that names no `checkpoint.dir`
    HOME/index/RUN.json     Entry: where the run is
    HOME/index/RUN/*.json   the same of others of that name: a run that was copied has the name of its original
    HOME/logs/RUN.log       what its supervisors said

A name that means several runs is never guessed at: they are told apart by their store URLs. Only `launch rm` lets go of an entry:
it may be all by which a run half deleted, or on a disk that is not mounted, is found again.
"""

import contextlib
import difflib
import hashlib
import itertools
import os
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import codec
from launcher.adapters import durable
from launcher.adapters.history import History, read_head, read_head_or_removal
from launcher.adapters.retry import first_contact
from launcher.adapters.store.base import ObjectStore
from launcher.app.grammar import PRESENT, Command
from launcher.app.wiring import child, clock_position, has_folder, may_be_unmounted, open_store
from launcher.core.contract import RUN_KEY, RunHead
from launcher.core.policy.base import Phase
from launcher.core.recipe import Recipe
from launcher.errors import LaunchError, StoreError, StoreUnusable, UsageError
from launcher.units import Utc

SHOWN_MOST = 8  # candidates named in one message
OVER = (Phase.SUCCEEDED, Phase.CANCELLED)  # what a bare `launch resume` passes over: done, or given up by somebody


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`HOME/index/RUN.json`."""

    run: str
    store: str
    created_at: Utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A run that is there: its store, rooted at the run, and its head; `url` where a person named it so."""

    store: ObjectStore
    head: RunHead
    url: str | None = None

    def addressed(self, text: str) -> str:
        """`text`, its commands naming the run so that they find it: the home may know another by its name, or none."""
        return text if self.url is None else addressed(text, self.head.run, self.url)

    @contextlib.contextmanager
    def addressing(self) -> Iterator[None]:
        """The same for the text of an error that comes out of the block."""
        try:
            yield
        except LaunchError as error:
            error.args = tuple(self.addressed(arg) if isinstance(arg, str) else arg for arg in error.args)
            raise

    def history(self, writer: str | None = None) -> History:
        """Its journal; as a reader unless `writer` is named, and then `open` comes first."""
        return History(self.store, self.head.incarnation, writer)

    def read(self) -> History:
        """Its journal, read to the newest record."""
        history = self.history()
        history.poll()
        return history

    def market_now(self, history: History) -> Utc:
        """Where the run stands in market time: by its clock on this machine, and not before its newest record."""
        newest = history.records[-1].at if history.records else self.head.created_at
        is_rehearsed = not history.is_created or history.state.recipe.is_local
        return max(newest, (clock_position(self.head.incarnation) if is_rehearsed else time.time()) or newest)


@dataclass(frozen=True, slots=True)
class Home:
    path: Path

    def make(self) -> None:
        """Raises UsageError where runs cannot be kept here; leaves nothing behind then."""
        try:
            self._index.mkdir(parents=True, exist_ok=True)
            durable.replace_atomically(self._index / ".writable", b"")
        except OSError as error:
            raise UsageError(
                f"the home {self.path} cannot be used: {error.strerror}; name another with --home or LAUNCH_HOME"
            ) from None

    def store_url(self, recipe: Recipe, run: str) -> str:
        return child(recipe.checkpoint.dir or self.runs_url, run)

    @property
    def runs_url(self) -> str:
        """Where runs lie whose recipe names no other place."""
        return (self.path / "runs").as_uri()

    def log_of(self, run: str) -> Path:
        return self.path / "logs" / f"{run}.log"

    def note(self, found: Found) -> None:
        """Remember where a run is."""
        entry = Entry(run=found.head.run, store=found.store.url, created_at=found.head.created_at)
        path = self._file_of(entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace_atomically(path, codec.dumps(entry))

    def forget(self, run: str, store: str) -> None:
        """Let go of the run at `store`, and of an entry under its name that says nothing."""
        for path, entry in self._files():
            if entry.store == store if entry is not None else path == self._index / f"{run}.json":
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # none there, or others in it
            (self._index / run).rmdir()

    def entries(self) -> tuple[Entry, ...]:
        """All runs seen here, the newest first. An entry that cannot be read is passed over: the run itself is elsewhere."""
        return tuple(sorted((entry for _, entry in self._files() if entry), key=lambda e: (-e.created_at, e.run, e.store)))

    def unreadable_entries(self) -> list[tuple[str, Path]]:
        """Their names and files."""
        bad = (path for path, entry in self._files() if entry is None)
        return [(path.stem if path.parent == self._index else path.parent.name, path) for path in bad]

    def places(self) -> dict[str, tuple[str, ...]]:
        """The store URLs of each name: of indexed runs, the newest first, then of those that lie here without an entry."""
        found: dict[str, dict[str, None]] = {}
        for entry in self.entries():
            found.setdefault(entry.run, {})[entry.store] = None
        indexed = {url for urls in found.values() for url in urls}
        for path in sorted((self.path / "runs").glob(f"*/{RUN_KEY}")):
            url = child(self.runs_url, path.parent.name)
            if url not in indexed:
                found.setdefault(path.parent.name, {})[url] = None
        return {name: tuple(urls) for name, urls in found.items()}

    def called(self, found: Found) -> Found:
        """`found`, by its URL where its name alone would not find it, or not it alone."""
        is_alone = self.places().get(found.head.run) == (found.store.url,)
        return found if is_alone or found.url is not None else replace(found, url=found.store.url)

    def _files(self) -> Iterator[tuple[Path, Entry | None]]:
        """None: what stands there is no entry. Raises UsageError where nobody may look: a home without runs is another thing."""
        try:
            os.scandir(self._index).close()
        except PermissionError as error:
            raise UsageError(
                f"the home {self.path} cannot be read: {error.strerror}; name another with --home or LAUNCH_HOME"
            ) from None
        except OSError:
            return
        for path in sorted((*self._index.glob("*.json"), *self._index.glob("*/*.json"))):
            try:
                yield path, codec.loads(Entry, path.read_bytes())
            except (OSError, ValueError):
                yield path, None

    def _file_of(self, entry: Entry) -> Path:
        """Where the entry stands or may stand: under the name alone, unless another run has that."""
        first = self._index / f"{entry.run}.json"
        by_file = dict(self._files())
        if own := next((path for path, known in by_file.items() if known is not None and known.store == entry.store), None):
            return own
        if by_file.get(first) is None:
            return first
        return self._index / entry.run / f"{hashlib.sha256(entry.store.encode()).hexdigest()[:8]}.json"

    @property
    def _index(self) -> Path:
        return self.path / "index"


def find(home: Home, text: str | None) -> Found:
    """The run meant by a name, a unique prefix or a store URL; by nothing, the newest unfinished one, else the newest.

    Raises UsageError, naming the candidates where several fit.
    """
    if text is None:
        return _newest(home)
    if "/" in text:
        url = open_store(text).url
        is_known = url in {entry.store for entry in home.entries()}
        return replace(known_at(url) if is_known else at(url), url=text)
    name, urls = named(home, text)
    there = urls if len(urls) == 1 else tuple(url for url in urls if is_there(url))
    if len(there) > 1:
        raise ambiguous(name, there)
    return home.called(known_at((there or urls)[0]))


def named(home: Home, text: str) -> tuple[str, tuple[str, ...]]:
    """The name meant by a name or a unique prefix, and the store URLs of all runs of that name. Raises UsageError."""
    places = home.places()
    names = [text] if text in places else sorted(name for name in places if name.startswith(text))
    if len(names) > 1:
        shown = ", ".join(names[:SHOWN_MOST]) + (" …" if len(names) > SHOWN_MOST else "")
        raise UsageError(f"{text!r} fits {len(names)} runs: {shown}; write more of the name")
    if not names:
        raise UsageError(_unknown(home, text, list(places)))
    return names[0], places[names[0]]


def ambiguous(name: str, urls: tuple[str, ...]) -> UsageError:
    return UsageError(f"{len(urls)} runs are called {name}: {' and '.join(urls)}; name the one that is meant by its URL")


@first_contact()
def is_there(url: str) -> bool:
    """Whether a run, or what `rm` left of one, lies at `url`; what is out of reach just now, or damaged, does."""
    try:
        return not has_folder(url) or read_head_or_removal(open_store(url)) is not None
    except LaunchError:
        return True


def addressed(text: str, run: str, url: str) -> str:
    """`text`, its commands that take a RUN naming the one called `run` by its URL."""
    command = rf"(launch (?:{'|'.join(map(_words_before_run, _TAKE_RUN))})(?: -[wf])?) {re.escape(run)}(?![\w/=-]|\.\w)"
    return re.sub(command, lambda found: f"{found[1]} {shlex.quote(url)}", text)


_TAKE_RUN = tuple(command for command in PRESENT if any(word.name == "run" for word in command.words))


def _words_before_run(command: Command) -> str:
    """A pattern: `status`, `ckpt (?:ls|verify)`."""
    words = itertools.takewhile(lambda word: word.name != "run", command.words)
    return " ".join((command.name, *(f"(?:{'|'.join(word.choices)})" for word in words)))


@first_contact()
def at(url: str) -> Found:
    """The run in the store at `url`."""
    store = open_store(url)
    return Found(store=store, head=read_head(store))


@first_contact()
def known_at(url: str) -> Found:
    """The run that the home knows to lie at `url`."""
    store = open_store(url)
    remedy = f"moved? `launch resume NEW_URL`; deleted? `launch rm {shlex.quote(url)} -y` drops this entry"
    if may_be_unmounted(url):
        raise StoreUnusable(f"nothing is in {url.rpartition('/')[0]}, where {url} was: is its disk mounted? {remedy}")
    return Found(store=store, head=read_head(store, otherwise=f"there is no run at {url} any more; {remedy}"))


def _newest(home: Home) -> Found:
    entries = home.entries()
    if not entries:
        raise UsageError(f"no run was seen in {home.path}; start one with `launch train quickstart`, or name its store URL")
    newest: Found | None = None
    for entry in entries:
        with contextlib.suppress(UsageError, StoreError):  # its store was deleted or is out of reach: not the one that is meant
            found = at(entry.store)
            newest = newest or found
            history = found.read()
            if not history.is_created or not history.state.is_over or history.state.phase not in OVER:
                return home.called(found)
    if newest is None:
        raise UsageError(f"none of the {len(entries)} runs in {home.path} can be reached any more; name one by its store URL")
    return home.called(newest)


def _unknown(home: Home, text: str, names: list[str]) -> str:
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "`launch runs` lists them, and a store URL names any other"
    return f"no run {text!r} was seen in {home.path}; {hint}"
