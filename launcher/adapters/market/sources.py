"""Where price lists lie on this machine, which of them is the best there is, and how old it really is.

For each cloud the first that can be read counts: a folder that a person named; of SkyPilot's own cache and what we downloaded the
newer; and the small list that comes with the package. A file's own time is no proof of age: SkyPilot sets it to now whenever it
could not download a newer one. The time of the digest beside it is that of the last true download (measured with SkyPilot 0.14.1,
offline and with a file of 30 days: 0.0 h by the file, 720 h by the digest).
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.units import Utc

CLOUDS = ("aws", "gcp", "azure", "lambda")
LAYOUT = "v8"  # of SkyPilot's hosted catalogs; Azure's are of the same columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that may hold one cloud's list. `fingerprint` changes whenever the file or what is known of its age does."""

    cloud: str
    path: Path
    origin: str  # as a person reads it
    fingerprint: str
    confirmed_ns: int  # when a download of it was last noted, 0 for never


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders to look into, and the file of live prices. `named` None: the person named none."""

    named: Path | None
    skypilot: Path
    downloads: Path
    live: Path | None = None

    def candidates(self, cloud: str) -> Iterator[Source]:
        """Best first; only what is there."""
        yield from self.named_lists(cloud)
        kept = [
            *_source(cloud, self.skypilot / cloud / "vms.csv", "SkyPilot's cache"),
            *_source(cloud, self.downloads / cloud / "vms.csv", "SkyPilot's catalog, downloaded"),
        ]
        yield from sorted(kept, key=lambda source: source.confirmed_ns, reverse=True)

    def named_lists(self, cloud: str) -> list[Source]:
        """In the folder that the person named."""
        if self.named is None:
            return []
        paths = (self.named / f"{cloud}.csv", self.named / cloud / "vms.csv")
        return [source for path in paths for source in _source(cloud, path, f"{self.named}")]


def meta_path(path: Path) -> Path:
    """The digest that was written when `…/v8/aws/vms.csv` was downloaded, in SkyPilot's layout and in ours."""
    return path.parent.parent / ".meta" / path.parent.name / f"{path.name}.md5"


def fetched_at(path: Path, data: bytes) -> Utc | None:
    """When the bytes at `path` were downloaded; None where no digest beside them tells."""
    with contextlib.suppress(OSError):
        meta = meta_path(path)
        if meta.read_text(encoding="ascii", errors="replace").strip() == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return meta.stat().st_mtime
    return None


def _source(cloud: str, path: Path, origin: str) -> Iterator[Source]:
    with contextlib.suppress(OSError):
        size, modified_ns = path.stat().st_size, path.stat().st_mtime_ns
        confirmed_ns = _confirmed_ns(path)
        fingerprint = f"{path} {size} {modified_ns} {confirmed_ns}"
        yield Source(cloud=cloud, path=path, origin=origin, fingerprint=fingerprint, confirmed_ns=confirmed_ns)


def _confirmed_ns(path: Path) -> int:
    with contextlib.suppress(OSError):
        return meta_path(path).stat().st_mtime_ns
    return 0
