"""The folder that remembers which runs were seen here, and how a run is found again.

A run lives whole in its store, wherever that is; the home only holds an index from names to store URLs, the default place for
local runs, and logs. So losing a home loses no work: a run is found by its store URL from any other.

    HOME/runs/RUN/          the store of a run that names no `checkpoint.dir`
    HOME/index/RUN.json     Entry: where the run is
    HOME/logs/RUN.log       what its supervisors said
"""

import contextlib
import difflib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import codec
from launcher.adapters import durable
from launcher.adapters.history import History, read_head
from launcher.adapters.store.base import ObjectStore
from launcher.app.wiring import child, clock_position, open_store
from launcher.core.contract import RunHead
from launcher.core.policy.base import Phase
from launcher.core.recipe import Recipe
from launcher.errors import StoreError, UsageError
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
        if self.url is None:
            return text
        url = shlex.quote(self.url)
        return re.sub(rf"(launch [a-z]+(?: -w)?) {re.escape(self.head.run)}(?![\w-])", lambda found: f"{found[1]} {url}", text)

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
        return max(newest, clock_position(self.head.incarnation) or newest)


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
        durable.replace_atomically(self._index / f"{entry.run}.json", codec.dumps(entry))

    def forget(self, run: str) -> None:
        (self._index / f"{run}.json").unlink(missing_ok=True)

    def entries(self) -> tuple[Entry, ...]:
        """All runs seen here, the newest first. An entry that cannot be read is passed over: the run itself is elsewhere."""
        return tuple(sorted(self._read(), key=lambda e: (-e.created_at, e.run)))

    def _read(self) -> Iterator[Entry]:
        for path in self._index.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                yield codec.loads(Entry, path.read_bytes())

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
        return replace(at(text), url=text)
    entries = {entry.run: entry for entry in home.entries()}
    names = [text] if text in entries else sorted(name for name in entries if name.startswith(text))
    if len(names) > 1:
        shown = ", ".join(names[:SHOWN_MOST]) + (" …" if len(names) > SHOWN_MOST else "")
        raise UsageError(f"{text!r} fits {len(names)} runs: {shown}; write more of the name")
    if names:
        return at(entries[names[0]].store)
    with contextlib.suppress(UsageError):  # its supervisor died between creating it and noting where it is
        return at(child(home.runs_url, text))
    raise UsageError(_unknown(home, text, list(entries)))


def at(url: str) -> Found:
    """The run in the store at `url`."""
    store = open_store(url)
    return Found(store=store, head=read_head(store))


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
            if not history.is_created or history.state.phase not in OVER:
                return found
    if newest is None:
        raise UsageError(f"none of the {len(entries)} runs in {home.path} can be reached any more; name one by its store URL")
    return newest


def _unknown(home: Home, text: str, names: list[str]) -> str:
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "`launch runs` lists them, and a store URL names any other"
    return f"no run {text!r} was seen in {home.path}; {hint}"
