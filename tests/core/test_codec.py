"""Values survive their way through bytes, equal ones give equal bytes, and no damaged byte goes unseen."""

import enum
import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import codec
from launcher.codec import Json


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    name: str
    size: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Twig:
    leaves: tuple[Leaf, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    part: Leaf | Twig
    colour: Colour
    note: str | None = None
    pair: tuple[int, str] = (0, "")
    tags: frozenset[str] = frozenset()
    named: dict[str, Leaf] = field(default_factory=dict)
    extra: Json = None
    is_tall: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    name: str
    label: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", f"branch {self.name}")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.builds(Leaf, name=texts, size=st.integers(), weight=floats)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
trees = st.builds(
    Tree,
    part=leaves | st.builds(Twig, leaves=st.lists(leaves, max_size=3).map(tuple)),
    colour=st.sampled_from(Colour),
    note=st.none() | texts,
    pair=st.tuples(st.integers(), texts),
    tags=st.frozensets(texts, max_size=4),
    named=st.dictionaries(texts, leaves, max_size=3),
    extra=json_values,
    is_tall=st.booleans(),
)
OAK = Tree(part=Leaf(name="oak", size=3), colour=Colour.RED, tags=frozenset({"b", "a"}))


@given(trees)
def test_every_value_is_read_back_equal(tree: Tree) -> None:
    assert codec.loads(Tree, codec.dumps(tree)) == tree
    assert codec.loads_digested(Tree, codec.dumps_digested(tree)) == tree


@given(trees)
def test_writing_again_gives_the_same_bytes(tree: Tree) -> None:
    data = codec.dumps_digested(tree)
    assert codec.dumps_digested(codec.loads_digested(Tree, data)) == data


def test_what_a_value_works_out_from_its_fields_is_neither_written_nor_read() -> None:
    assert codec.dumps(Branch(name="a")) == b'{"is":"Branch","name":"a"}'
    assert codec.loads(Branch, b'{"label":"another","name":"a"}').label == "branch a"


def test_bytes_are_canonical() -> None:
    assert codec.dumps(OAK) == (
        b'{"colour":"red","extra":null,"is":"Tree","is_tall":false,"named":{},"note":null,"pair":[0,""],'
        b'"part":{"is":"Leaf","name":"oak","size":3,"weight":1.0},"tags":["a","b"]}'
    )


@given(trees, st.data())
def test_a_changed_byte_is_noticed(tree: Tree, data: st.DataObject) -> None:
    whole = codec.dumps_digested(tree)
    position = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :]
    with pytest.raises(ValueError):
        codec.loads_digested(Tree, bad)


@pytest.mark.parametrize("tree", [OAK, Tree(part=Twig(), colour=Colour.BLUE, note="ü")])
def test_a_cut_or_lengthened_record_is_noticed(tree: Tree) -> None:
    whole = codec.dumps_digested(tree)
    for bad in (*(whole[:end] for end in range(len(whole))), whole + b"\n", b" " + whole, whole + whole):
        with pytest.raises(ValueError):
            codec.loads_digested(Tree, bad)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        codec.loads_digested(Tree, data)


def test_fields_a_newer_version_added_are_ignored_and_missing_ones_take_their_defaults() -> None:
    newer = b'{"is":"Leaf","name":"oak","added_later":[1,2]}'
    assert codec.loads(Leaf, newer) == Leaf(name="oak")


def test_the_digest_covers_fields_this_version_does_not_know() -> None:
    body = b'{"is":"Leaf","name":"oak","later":1}'
    sealed = b'{"body":' + body + b',"sha256":"' + codec.digest_of(body).encode() + b'"}'
    assert codec.loads_digested(Leaf, sealed) == Leaf(name="oak")
    with pytest.raises(ValueError, match="SHA-256"):
        codec.loads_digested(Leaf, sealed.replace(b'"later":1', b'"later":2'))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"is": "Leaf"}, "name"),
        ({"is": "Leaf", "name": 3}, "expected"),
        ({"is": "Leaf", "name": "x", "size": 1.5}, "expected"),
        ({"is": "Leaf", "name": "x", "size": True}, "expected"),
        ({"is": "Twig", "leaves": []}, "kind"),
        ([], "object"),
    ],
)
def test_a_value_that_does_not_fit_is_a_value_error_that_says_why(raw: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        codec.loads(Leaf, json.dumps(raw))


def test_an_unknown_member_of_a_union_is_named() -> None:
    with pytest.raises(ValueError, match="unknown kind 'Bark'"):
        codec.loads(Leaf | Twig, '{"is":"Bark"}')


def test_an_unknown_enum_value_and_a_tuple_of_the_wrong_length_are_refused() -> None:
    good = json.loads(codec.dumps(OAK))
    for change in ({"colour": "green"}, {"pair": [1]}, {"named": []}, {"tags": 3}):
        with pytest.raises(ValueError):
            codec.decode(Tree, {**good, **change})


def test_a_whole_number_is_read_where_a_float_is_meant() -> None:
    weight = codec.loads(Leaf, '{"name":"x","weight":2}').weight
    assert weight == 2.0
    assert isinstance(weight, float)


def test_not_a_number_is_refused_at_writing() -> None:
    with pytest.raises(ValueError):
        codec.dumps(Leaf(name="x", weight=float("nan")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    name: str
    inner: tuple["Nest", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeFirst:
    size: int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFirst:
    size: float | int


def test_a_class_may_hold_itself() -> None:
    nest = Nest(name="outer", inner=(Nest(name="inner"),))
    assert codec.loads(Nest, codec.dumps(nest)) == nest


def test_of_a_union_without_tags_the_first_member_that_fits_is_read() -> None:
    for kind, expected in ((WholeFirst, int), (BrokenFirst, float)):
        assert type(codec.decode(kind, {"size": 2}).size) is expected
    for union, expected in ((int | float, int), (float | int, float)):
        assert type(codec.decode(union, 2)) is expected


def test_what_a_type_asks_for_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.dumps(OAK)
    codec.loads(Tree, data)

    def refuse(kind: object) -> Any:
        raise AssertionError(f"{kind} is interpreted again")

    for name in ("get_type_hints", "get_origin"):
        monkeypatch.setattr(f"typing.{name}", refuse)
    assert codec.loads(Tree, data) == OAK
    assert codec.dumps(OAK) == data


@pytest.mark.parametrize(
    ("kind", "raw", "says"),
    [
        (Leaf, {"name": 3}, "not a Leaf: expected <class 'str'>, found 3"),
        (Leaf, {"name": "x", "size": None}, "not a Leaf: expected <class 'int'>, found None"),
        (Leaf, "oak", "not a Leaf: expected an object for Leaf, found 'oak'"),
        (Leaf | None, 3, "expected an object for Leaf, found 3"),
        (int | str, [], "expected <class 'int'>, found []; expected <class 'str'>, found []"),
        (tuple[int, str], [1], "not a tuple: expected 2 items, found 1"),
        (tuple[int, ...], {}, "not a tuple: expected a list, found {}"),
        (Leaf | Twig, {"is": ["Leaf"]}, "unknown kind ['Leaf']"),
        (Colour, "green", "'green' is not a valid Colour"),
        (list, [1], "not a list: expected <class 'list'>, found [1]"),
    ],
)
def test_errors_say_what_was_expected_and_what_was_found(kind: Any, raw: object, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        codec.decode(kind, raw)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "9" * 5000])
def test_a_number_that_could_not_be_written_again_is_refused_at_reading(number: str) -> None:
    with pytest.raises(ValueError):
        codec.loads(Leaf, f'{{"name":"x","weight":{number}}}')


@pytest.mark.parametrize("start", [b"[", b'{"a":', b'{"is":"Leaf","name":'])
def test_nesting_without_end_is_refused(start: bytes) -> None:
    with pytest.raises(ValueError, match="nested"):
        codec.loads(Leaf, start * 100_000)
