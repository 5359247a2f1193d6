"""Values of a recipe by type and unit: durations, money, counts, switches, texts. Errors are ValueErrors naming the remedy."""

import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from launcher.codec import Json
from launcher.units import Seconds, parse_duration, parse_usd


def plain(hint: Any, metadata: Mapping[str, Any], value: Json) -> Json:
    match metadata.get("unit"):
        case "duration":
            return _bounded(duration(value), metadata, "'6h'")
        case "usd":
            return _bounded(usd(value), metadata, "'40.00'")
        case "count":
            return None if value == "unlimited" else integer(value, metadata, "'unlimited', or a whole number")
    if hint is bool:
        return truth(value)
    if hint is int:
        return integer(value, metadata, "a whole number")
    if typing.get_origin(hint) is tuple:
        return texts_of(value)
    if typing.get_origin(hint) is dict:
        return dict(value)
    return text_of(value)


def _bounded(number: float, metadata: Mapping[str, Any], example: str) -> float:
    if "above" in metadata and not number > metadata["above"]:
        raise ValueError(f"write more than {metadata['above']}, such as {example}")
    return number


def integer(value: Json, metadata: Mapping[str, Any], wish: str) -> int:
    least = metadata.get("least", 0)
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"write {wish} of at least {least}")
    return value


def duration(value: Json) -> Seconds:
    try:
        return parse_duration(value) if isinstance(value, str) else _no_unit()
    except ValueError:
        raise ValueError("write a duration such as '6h', '90s' or '1h30m'") from None


def usd(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("write an amount such as '40.00'")
    try:
        return parse_usd(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        raise ValueError("write an amount of dollars such as '40.00'") from None


def _no_unit() -> Seconds:
    raise ValueError


def truth(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("yes", "on", "true", "no", "off", "false"):
        return str(value).lower() in ("yes", "on", "true")
    raise ValueError("write true or false")


def text_of(value: Json) -> str:
    if isinstance(value, bool | int | float | str):
        return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    raise ValueError("write one text")


def texts_of(value: Json) -> list[str]:
    """One text or a list of them."""
    if isinstance(value, dict):
        raise ValueError("write a list such as [a, b]")
    return [text_of(item) for item in (value if isinstance(value, list) else [value])]


def without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint
