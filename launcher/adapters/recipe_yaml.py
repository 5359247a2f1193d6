"""YAML text to plain values that remember their lines, and back.

PyYAML forgets where a value stood once it has made it, keeps the last of two equal keys without a word, and reads YAML 1.1,
where `on` is true, `1:30` is 90 and `3e-4` is text. So we take its nodes, which carry line marks, and resolve plain scalars by
the rules of YAML 1.2: true, false, null, decimal numbers; all else is text. Keys are always text.
"""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from launcher.codec import Json, finite
from launcher.errors import RecipeError

FILE_BYTES_MAX = 256_000  # a recipe is a page; more is a wrong file
NUM_VALUES_MAX = 20_000  # what aliases may unfold to
DEPTH_MAX = 40

_TAG = "tag:yaml.org,2002:"
_PLAIN: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
)
_AS_WRITTEN = ("envs", "labels")  # `X: 010` means those three characters to a program


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's values, and the line of each key path ("policy.deadline", "notify.0.url")."""

    tree: dict[str, Json]
    lines: dict[str, int]


def read_yaml(text: str, shown_as: str) -> Document:
    """The mapping in `text`. Raises RecipeError with FILE:LINE for anything else."""
    value, lines = _read(text, shown_as)
    if value is None:
        raise RecipeError(f"{shown_as} is empty; `launch recipes show quickstart` prints one to start from")
    if not isinstance(value, dict):
        raise RecipeError(f"{shown_as}:1: a recipe is a mapping, not {_kind_of(value)}; write lines such as `name: my-run`")
    return Document(tree=value, lines=lines)


def read_value(text: str, shown_as: str) -> Json:
    """One value, as the right side of KEY=VALUE on the command line."""
    return _read(text, shown_as)[0]


def write_yaml(tree: dict[str, Json]) -> str:
    """`tree` as text that `read_yaml` reads back equal."""
    return str(yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc,unused-ignore]
    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar(f"{_TAG}str", text, style="|" if "\n" in text.rstrip("\n") else None)


for _tag, _pattern, _first in _PLAIN:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_tag}", re.compile(rf"(?:{_pattern})\Z"), [c.strip("\0") for c in _first])
_Dumper.add_representer(str, _text_node)


def _read(text: str, shown_as: str) -> tuple[Json, dict[str, int]]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        builder = _Builder(loader, shown_as)
        return (None if node is None else builder.build(node, "", 0)), builder.lines
    except yaml.YAMLError as error:
        raise RecipeError(_syntax_message(error, shown_as)) from None
    except RecursionError:
        raise RecipeError(f"{shown_as} is nested too deeply; a recipe has at most {DEPTH_MAX} levels") from None


@dataclass(slots=True)
class _Builder:
    """Walks PyYAML's nodes once: makes values, notes lines, refuses what a recipe has no use for."""

    loader: Any
    shown_as: str
    lines: dict[str, int] = field(default_factory=dict)
    num_values: int = 0

    def build(self, node: Any, path: str, depth: int) -> Json:
        self.num_values += 1
        if self.num_values > NUM_VALUES_MAX or depth > DEPTH_MAX:
            raise self._wrong(node, "unfolds to far too many values; write a recipe of a page")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise self._wrong(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write the value plainly")
        if isinstance(node, yaml.SequenceNode):
            return [self._child(item, item, f"{path}.{i}", depth) for i, item in enumerate(node.value)]
        return self._mapping(node, path, depth)

    def _mapping(self, node: Any, path: str, depth: int) -> dict[str, Json]:
        self._refuse_twins(node)
        self.loader.flatten_mapping(node)
        return {key.value: self._child(key, value, f"{path}.{key.value}", depth) for key, value in node.value}

    def _child(self, key: Any, node: Any, path: str, depth: int) -> Json:
        path = path.lstrip(".")
        self.lines[path] = key.start_mark.line + 1
        return self.build(node, path, depth + 1)

    def _refuse_twins(self, node: Any) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong(key, "a key must be plain text")
            if key.value in seen and key.tag != f"{_TAG}merge":
                raise self._wrong(key, f"the key {key.value!r} stands twice, first on line {seen[key.value]}; keep one")
            seen[key.value] = key.start_mark.line + 1

    def _scalar(self, node: Any, path: str) -> Json:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag == "null":
            return None
        if tag in ("str", "merge") or path.rpartition(".")[0].endswith(_AS_WRITTEN):
            return text
        try:
            match tag:
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text)
                case "float":
                    return finite(text)
        except ValueError:
            named = f"{path}: " if path else ""
            raise self._wrong(node, f"{named}{text[:40]!r} is not a number we can use") from None
        raise self._wrong(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write the value plainly")

    def _wrong(self, node: Any, problem: str) -> RecipeError:
        return RecipeError(f"{self.shown_as}:{node.start_mark.line + 1}: {problem}")


def _syntax_message(error: yaml.YAMLError, shown_as: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    place = f"{shown_as}:{mark.line + 1}" if mark else shown_as
    return f"{place}: {problem}; {_remedy(problem, str(getattr(error, 'context', None) or ''))}"


def _remedy(problem: str, context: str) -> str:
    if r"'\t'" in problem:
        return "indent with spaces, not tabs"
    if "another document" in problem or "single document" in context:
        return "a recipe is one document: keep what stands above the second '---'"
    if "mapping values are not allowed" in problem or "could not find expected ':'" in problem:
        return "write `key: value`, with a blank after the colon, and put text that holds ': ' in quotes"
    if "special characters" in problem:
        return "the file holds characters that are not text"
    if "undefined alias" in problem:
        return "an alias *name needs an anchor &name above it, and text that begins with * needs quotes"
    return "check brackets, quotes and indentation there"


def _kind_of(value: Json) -> str:
    return "a list" if isinstance(value, list) else f"the single value {str(value)[:40]!r}"
