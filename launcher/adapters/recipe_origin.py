"""Whence each value of a recipe came, so that an error can point at the line and `config show` can explain it.

Layers are laid one over the other (defaults, fragments, recipe, flags); the last to name a key is its origin.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from launcher.codec import Json
from launcher.errors import RecipeError

SHOWN_VALUE_MAX = 60  # characters of a wrong value in a message: enough to recognise it, still one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`source` is "flag", "recipe", "config" or "default"; `place` is FILE:LINE, where there is one."""

    source: str
    place: str = ""

    def __str__(self) -> str:
        return self.place or self.source


DEFAULT = Origin(source="default")
FLAG = Origin(source="flag")


class Origins:
    """The origin of every key path ("policy.deadline") laid so far, and the refusals that name it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._of: dict[str, Origin] = {}

    def lay(self, layer: Mapping[str, Origin]) -> None:
        """Put a layer on top. What a key held before stays only where the layer merges into it."""
        parents = {path.rpartition(".")[0] for path in layer}
        for path in layer.keys() - parents:
            for below in [known for known in self._of if known.startswith(f"{path}.")]:
                del self._of[below]
        self._of.update(layer)

    def move(self, source: str, target: str) -> None:
        """`target` is written as `source` in the file."""
        if source in self._of:
            self._of[target] = self._of[source]

    def exactly(self, path: str) -> Origin:
        """The origin of the value at `path`; a key above it that says nothing of it does not count."""
        return self._of.get(path, DEFAULT)

    def of(self, path: str) -> Origin:
        """The origin of `path` or of the nearest key above it: where a person would look."""
        while path:
            if path in self._of:
                return self._of[path]
            path = path.rpartition(".")[0]
        return DEFAULT

    def where(self, path: str) -> str:
        origin = self.of(path)
        if origin.source == "default":
            return self.file
        return "on the command line" if origin.source == "flag" else origin.place

    def refuse(self, path: str, value: Json, remedy: str) -> NoReturn:
        """The value of `path` cannot be used."""
        raise RecipeError(f"{path} is {_shown(value)} ({self.where(path)}); {remedy}")

    def refuse_hidden(self, path: str, remedy: str) -> NoReturn:
        """As `refuse`, for a value that must not be printed."""
        raise RecipeError(f"{path} ({self.where(path)}): {remedy}")

    def refuse_unknown(self, path: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> NoReturn:
        """No such key. `known` are its would-be siblings, `elsewhere` where keys of other blocks live."""
        parent, _, key = path.rpartition(".")
        near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.6)
        if key in elsewhere:
            remedy = f"did you mean {elsewhere[key]!r}?"
        elif near:
            remedy = f"did you mean {near[0]!r}?"
        else:
            remedy = f"known keys{' of ' + parent if parent else ''}: {', '.join(sorted(known))}"
        raise RecipeError(f"unknown key {path} ({self.where(path)}); {remedy}")


def nearest(text: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest of `known`, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


def _shown(value: Json) -> str:
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= SHOWN_VALUE_MAX else f"{text[:SHOWN_VALUE_MAX]}…"
