"""The command line: from words to one command's arguments, and from whatever it raises to one line and an exit code.

It must answer at once, so nothing here imports more than argparse and the table in `app/grammar.py`; a command's module is
imported when it is dispatched. Global flags mean the same before and after the command, because the words before it are
simply put behind it. Each failure ends in one sentence on stderr (that of a recipe in one for each problem), the exit code of
PRODUCT and, under `-o json`, a JSON document on stdout. What we did not foresee ends with 70 and a report file, never with a
traceback on the terminal.
"""

import argparse
import codecs
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, NoReturn, TextIO, cast

from launcher import __version__
from launcher.app import grammar
from launcher.app.grammar import Command, Flag, Word
from launcher.errors import LaunchError, OutputError, RecipeError, UsageError

HOME_DEFAULT = "~/.launch"
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141  # what a shell reports of a program ended by SIGPIPE, as `launch runs | head -1` may be

_OVERRIDE = re.compile(r"[A-Za-z_][\w.\-]*(\[\d+\])*=")  # a store URL with "=" in it has a ":" or "/" before


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return answered(words, lambda: _run(words))


def answered(words: list[str], work: Callable[[], int]) -> int:
    """The exit code of `work`, which is done for the command that `words` are; what it raises is said as that command would."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        _write_anyhow(stream)
    with redirect_stdout(cast(TextIO, _Stdout(sys.stdout))), redirect_stderr(cast(TextIO, _Stderr(sys.stderr))):
        try:
            return _ended(words, work)
        except BrokenPipeError:
            _drop_stdout()
            return EXIT_PIPE_CLOSED
        except OutputError as error:
            _drop_stdout()
            return _fail(words, [str(error)], type(error).__name__, error.exit_code)


def _ended(words: list[str], work: Callable[[], int]) -> int:
    try:
        code = work()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as interrupt:
        return _interrupted(words, interrupt)
    except (BrokenPipeError, OutputError):
        raise
    except Exception as error:
        if isinstance(error, LaunchError) and error.exit_code != EXIT_BUG:
            problems = error.args if isinstance(error, RecipeError) else [str(error)]
            return _fail(words, problems, type(error).__name__, error.exit_code)
        if isinstance(error.__context__, KeyboardInterrupt):  # what tidies up behind one may fall over it, as argparse does
            return _interrupted(words, error.__context__)
        return _report_bug(words, error)


def _interrupted(words: list[str], interrupt: KeyboardInterrupt) -> int:
    return _fail(words, [str(interrupt) or "interrupted"], "Interrupted", EXIT_INTERRUPTED)


def _run(words: list[str]) -> int:
    name, rest = split_command(words)
    if name is None:
        return _without_command(rest)
    command = grammar.find(name)
    if command is None:
        raise UsageError(f"there is no command {name!r}{_near(name, [c.name for c in grammar.PRESENT])}; see `launch --help`")
    if command.later:
        raise UsageError(f"`launch {name}` comes in a later version; `launch --help` lists what there is")
    if not {"-h", "--help"}.isdisjoint(rest):
        print(grammar.usage(command))
        return 0
    return _dispatch(command, parse(command, rest))


def _without_command(words: list[str]) -> int:
    if "--version" in words:
        print(f"launch {__version__}")
    elif not {"-h", "--help"}.isdisjoint(words):
        print(grammar.overview())
    elif words:
        parse(Command("", ""), words)
        raise UsageError("a command is missing; see `launch --help`")
    else:
        print(grammar.overview(), file=sys.stderr)
        return UsageError.exit_code
    return 0


def _dispatch(command: Command, args: argparse.Namespace) -> int:
    from importlib import import_module

    if not __debug__:
        raise UsageError("launch keeps its own checks on while it runs; start Python without -O and PYTHONOPTIMIZE")
    run = import_module(f"launcher.app.commands.{command.name}").run
    return int(run(args))


# --- a stdout that cannot be written -----------------------------------------------------------------------------------------


def _open_what_is_closed() -> None:
    """After `>&-` Python has no stdout at all, and its number goes to the next file that is opened, a journal perhaps.

    What stands in for it cannot be written, and an answer says so as on a full disk; what would be said on stderr is dropped.
    """
    for name, mode, flags in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)
            os.set_inheritable(number, True)  # to those that this process starts it is what it is to this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


class _Stdout:
    """`stream`, a failure of which is told from that of any other file: OutputError, unless its reader has gone away."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> "_Stdout":
        return _Stdout(self._stream.buffer)

    def write(self, data: Any) -> int:
        with _as_output_error():
            return int(self._stream.write(data))

    def flush(self) -> None:
        with _as_output_error():
            self._stream.flush()


class _Stderr:
    """`stream`; what cannot be said on it, as on a full disk, is dropped: nothing that is to be done waits for that."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


@contextmanager
def _as_output_error() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"stdout cannot be written: {error.strerror}") from None


def _drop_stdout() -> None:
    """Whatever is still buffered must not raise again when Python closes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# --- terminals that are not of UTF-8 -----------------------------------------------------------------------------------------

_PLAIN = dict(zip("–…·─│└├▶⚠✓✔✗‖Δ√⏎", "-..-|`|>!**x=dV/", strict=True))


def _write_anyhow(stream: TextIO) -> None:
    """What `stream` has no sign for is written by a likeness, else by its number as JSON reads it too; nothing fails on it."""
    codecs.register_error("launch", _in_plain_signs)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="launch")


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _numbered(sign) for sign in signs), error.end


def _numbered(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


# --- words to arguments ------------------------------------------------------------------------------------------------------


def split_command(words: list[str]) -> tuple[str | None, list[str]]:
    """The command's name and all other words. Global flags before the name come first among them."""
    valued = {name for flag in grammar.GLOBAL_FLAGS if flag.metavar for name in flag.names}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in valued else 1
    if at >= len(words):
        return None, words
    return words[at], words[:at] + words[at + 1 :]


def parse(command: Command, words: list[str]) -> argparse.Namespace:
    """The arguments of one command. Raises UsageError, in one line, where they do not fit the table."""
    parser = _parser(command)
    args, extra = parser.parse_known_intermixed_args(words)
    if extra:
        raise UsageError(_unknown(command, extra[0]))
    for flag in command.flags:
        if flag.later and getattr(args, flag.attribute):
            raise UsageError(f"{flag.names[-1]} comes in a later version; leave it out for now")
    if args.output not in command.formats:
        raise UsageError(f"`launch {command.name}` has no -o {args.output}; it has {', '.join(command.formats)}")
    if command.takes_overrides:
        _sort_overrides(command, args)
    _check_env(args)
    args.home = os.path.abspath(os.path.expanduser(args.home or os.environ.get("LAUNCH_HOME") or HOME_DEFAULT))
    args.command = command.name
    return args


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")


def _parser(command: Command) -> _Parser:
    parser = _Parser(prog=_typed(command), add_help=False, allow_abbrev=False)
    for flag in (*command.flags, *grammar.GLOBAL_FLAGS[1:]):  # the help is answered before anything is parsed
        _add_flag(parser, flag)
    parser.set_defaults(output="table")
    for word in command.words:
        parser.add_argument(word.name, metavar=word.metavar, nargs="?" if word.is_optional else None, type=_reader(command, word))
    if command.takes_overrides:
        parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", default=[])  # the default: not required
    return parser


def _add_flag(parser: _Parser, flag: Flag) -> None:
    if flag.metavar is None and flag.is_repeatable:
        parser.add_argument(*flag.names, dest=flag.attribute, action="count", default=0)
    elif flag.metavar is None:
        parser.add_argument(*flag.names, dest=flag.attribute, action="store_true")
    elif flag.is_repeatable:
        parser.add_argument(*flag.names, dest=flag.attribute, action="append", default=[], metavar=flag.metavar)
    else:
        kind = int if flag.is_number else str
        parser.add_argument(*flag.names, dest=flag.attribute, type=kind, metavar=flag.metavar)


def _sort_overrides(command: Command, args: argparse.Namespace) -> None:
    """Put a key=value that landed where RUN or RECIPE stands among the overrides."""
    last = command.words[-1]
    value = getattr(args, last.name)
    if value is not None and _OVERRIDE.match(value):
        if not last.is_optional:
            raise UsageError(f"`launch {command.name}` needs a {last.metavar} before {value}")
        setattr(args, last.name, None)
        args.overrides.insert(0, value)
    for text in args.overrides:
        if not _OVERRIDE.match(text):
            raise UsageError(f"{text!r} is not key=value, such as policy.budget=5")


def _reader(command: Command, word: Word) -> Callable[[str], str]:
    """Checks a word's choices while it is read, so that a wrong one is named before whatever is missing behind it."""

    def read(value: str) -> str:
        if word.choices and value not in word.choices:
            near = _near(value, list(word.choices))
            raise UsageError(f"`launch {command.name}` knows {', '.join(word.choices)}, not {value!r}{near}")
        return value

    return read


def _check_env(args: argparse.Namespace) -> None:
    for pair in getattr(args, "env", ()):
        if not pair.partition("=")[1]:
            raise UsageError(f"--env {pair!r} is not KEY=VALUE")


def _typed(command: Command) -> str:
    return f"launch {command.name}".strip()


def _unknown(command: Command, word: str) -> str:
    where = f"`{_typed(command)}`"
    if not word.startswith("-"):
        return f"{where} has no place for {word!r}; see `{_typed(command)} --help`"
    flag = word.partition("=")[0]
    if command.takes_overrides and (key := _recipe_key(flag)) is not None:
        return f"{where} has no flag {flag}; write {key}=VALUE, without dashes"
    names = [name for known in grammar.flags_of(command) for name in known.names]
    return f"{where} has no flag {flag}{_near(flag, names)}"


def _recipe_key(flag: str) -> str | None:
    """The key of a recipe that somebody took for a flag: "policy.budget" for --budget."""
    import dataclasses

    from launcher.core import recipe

    name = flag.lstrip("-").replace("-", "_")
    blocks = {
        "policy": recipe.Goal,
        "resources": recipe.Resources,
        "checkpoint": recipe.CheckpointSpec,
        "local": recipe.LocalSpec,
    }
    return next((f"{b}.{name}" for b, spec in blocks.items() if name in {f.name for f in dataclasses.fields(spec)}), None)


def _near(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


# --- failures ----------------------------------------------------------------------------------------------------------------


def _fail(words: list[str], problems: Sequence[str], kind: str, exit_code: int, **more: str) -> int:
    """Each of `problems` is one line."""
    from launcher.log import redacted

    lines = [redacted(" ".join(problem.split())) for problem in problems]
    print("\n".join(f"launch: {line}" for line in lines), file=sys.stderr)
    if _wants_json(words):
        import json

        error = {"kind": kind, "message": "\n".join(lines), "exit_code": exit_code, **more}
        print(json.dumps({"schema_version": 1, "error": error}, ensure_ascii=False), flush=True)
    return exit_code


def _report_bug(words: list[str], error: BaseException) -> int:
    from launcher.app.bug import write_bug_report

    path = write_bug_report(words, error, _home_among(words))
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _fail(words, [f"a bug of ours ({cause}); the report is in {path}"], "Bug", EXIT_BUG, report=path)


def _wants_json(words: list[str]) -> bool:
    """Whether `-o json` is among words that perhaps could not be parsed."""
    asked = {"-ojson", "-o=json", "--output=json"}
    return any(a in asked or (a in ("-o", "--output") and b == "json") for a, b in zip(words, [*words[1:], ""], strict=True))


def _home_among(words: list[str]) -> str:
    """The home that words ask for which perhaps could not be parsed."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--home", default=os.environ.get("LAUNCH_HOME") or HOME_DEFAULT)
    home: str = HOME_DEFAULT
    with suppress(UsageError):  # --home without a value
        home = parser.parse_known_args(words)[0].home
    return os.path.expanduser(home)
