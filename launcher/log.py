"""One event, one line: text for people, JSON for machines, and never a secret.

    log.info("attempt_lost", run=run_id, attempt=3, cause="notice", lost_s=41.0)

What the journal records need not be logged twice. `debug` is for us, `info` is what a user would miss, `warning` means someone
should act. A log is a courtesy: one that cannot be written (closed terminal, full disk) stops nothing.
"""

import contextlib
import enum
import json
import re
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass
from typing import TextIO

from launcher.codec import Json


class Level(enum.IntEnum):
    DEBUG = 10
    INFO = 20
    WARNING = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where lines go, and how; `stream` None is stderr, as it is when the line is written."""

    stream: TextIO | None = None
    as_json: bool = False
    lowest: Level = Level.INFO


_HIDDEN = "***"
_SECRET_CHARS_MIN = 4  # hiding every "1" would hide the log
_NAMES = (  # of what is a secret wherever it stands: in a header, a connection string, JSON, an environment
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|accountkey|sharedaccess(?:key|signature)"
    r"|(?:aws_)?secret_?access_?key|(?:aws_)?session_?token|(?:access|refresh|id)_token|client_?secret|private_key"
)
_WORD = r"""[^\s"'<>;,)]+"""
_LOOKS = (
    # "abfs://container@account" names no user; with a colon in it, it does.
    (re.compile(r"(?<=://)(?:(?<!abfs://)(?<!abfss://)[^/@\s\"']+|[^/@:\s\"']*:[^/@\s\"']*)@"), f"{_HIDDEN}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), _HIDDEN),
    # The header that says who asks, whatever it says: a scheme, a word, and perhaps more of the form "name=word".
    (
        re.compile(
            rf"""(authorization["']?\s*[:=]\s*(?:b?["'])?)(?:[A-Za-z][\w-]* +)?{_WORD}(?:, *\w+={_WORD})*""", re.IGNORECASE
        ),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"(\b(?:Bearer|SharedKey(?:Lite)?) )[\w.~+/=:-]{8,}"), rf"\g<1>{_HIDDEN}"),
    (re.compile(rf"""({_NAMES})(["']?\s*[:=]\s*(?:b?["'])?|%3D)[^&\s"'<>;,]+""", re.IGNORECASE), rf"\g<1>\g<2>{_HIDDEN}"),
    (re.compile(r"""((?<![a-z])(?:sig|signature)(?:=|%3D))[^&\s"'<>;,]+""", re.IGNORECASE), rf"\g<1>{_HIDDEN}"),
    # In a URL only: elsewhere a "key" is one of the store's.
    (re.compile(r"""([?&](?:token|key|password)=)[^&#\s"'<>]+""", re.IGNORECASE), rf"\g<1>{_HIDDEN}"),
    # Google's tokens and everybody's JSON web tokens are known by their first letters.
    (re.compile(r"\b(?:ya29\.[\w.-]{8,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"), _HIDDEN),
)

_lock = threading.Lock()
_sinks: tuple[Sink, ...] = (Sink(),)
_secrets: tuple[str, ...] = ()  # longest first, so that no secret is hidden only in part


def configure(*sinks: Sink) -> None:
    """From now on write to these, of all threads of this process; none is silence."""
    global _sinks
    _sinks = sinks


def configured() -> tuple[Sink, ...]:
    """Where lines go now."""
    return _sinks


def debug(event: str, **fields: Json) -> None:
    _write(Level.DEBUG, event, fields)


def info(event: str, **fields: Json) -> None:
    _write(Level.INFO, event, fields)


def warning(event: str, **fields: Json) -> None:
    _write(Level.WARNING, event, fields)


def redact(value: str) -> None:
    """Never write `value` again, nor what it looks like inside JSON or a URL. Under four characters it is not kept back."""
    global _secrets
    if len(value) >= _SECRET_CHARS_MIN:
        looks = {value, json.dumps(value)[1:-1], urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)}
        _secrets = tuple(sorted({*_secrets, *looks}, key=lambda text: (-len(text), text)))


def redacted(text: str) -> str:
    """`text` without the registered secrets, and without what looks like one: in URLs, headers, connection strings, keys."""
    for secret in _secrets:
        text = text.replace(secret, _HIDDEN)
    for look, shown in _LOOKS:
        text = look.sub(shown, text)
    return text


def _write(level: Level, event: str, fields: dict[str, Json]) -> None:
    now = time.time()
    for sink in _sinks:
        if level >= sink.lowest:
            line = _json_line(now, level, event, fields) if sink.as_json else _text_line(now, level, event, fields)
            stream = sink.stream or sys.stderr
            with _lock, contextlib.suppress(OSError, ValueError):
                stream.write(redacted(line) + "\n")
                stream.flush()


def _json_line(now: float, level: Level, event: str, fields: dict[str, Json]) -> str:
    head = {"at": round(now, 3), "level": level.name.lower(), "event": event}
    return json.dumps({**head, **fields}, default=str, ensure_ascii=False)


def _text_line(now: float, level: Level, event: str, fields: dict[str, Json]) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    mark = "" if level is Level.INFO else f"{level.name.lower()} "
    return " ".join([f"{clock} {mark}{event}", *(f"{name}={_shown(value)}" for name, value in fields.items())])


def _shown(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or re.search(r"[\s=\"]", text) else text
