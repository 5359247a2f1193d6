"""`launch logs [RUN]`: what the programs of all attempts printed, in one stream; or, with --supervisor, what supervisors said."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from launcher.adapters.history import History
from launcher.app.answer import print_answer
from launcher.app.home import Found
from launcher.app.logbook import Logbook, Piece
from launcher.app.looking import home_of, looked_at, looks
from launcher.errors import UsageError
from launcher.units import Seconds


def run(args: argparse.Namespace, wait: Callable[[Seconds], None] = time.sleep) -> int:
    if args.follow and args.output != "table":
        raise UsageError(f"a log that is followed has no end, so -f and -o {args.output} do not go together")
    if args.tail is not None and args.tail < 0:
        raise UsageError(f"--tail {args.tail}: a number of lines is 0 or more")
    found = looked_at(args)
    history = found.read()
    pieces = (_of_supervisors if args.supervisor else _of_attempts)(args, found, history, wait)
    if args.output == "table":
        _write(pieces, is_quiet=args.quiet or args.supervisor)
    else:
        print_answer(args, {"run": found.head.run, "log": _json(pieces)}, ())
    return 0


def _of_attempts(args: argparse.Namespace, found: Found, history: History, wait: Callable[[Seconds], None]) -> Iterator[Piece]:
    book = Logbook(found.store, _node(args, history))
    if args.attempt is not None:
        _check_attempt(args, history)
    if args.tail is not None:
        yield from book.tail(_numbers(args, history), args.tail)
    else:
        yield from book.fresh(_numbers(args, history))
    if args.follow:
        for _ in looks(history, wait=wait):
            yield from book.fresh(_numbers(args, history))


def _node(args: argparse.Namespace, history: History) -> int:
    node, num_nodes = args.node or 0, history.state.recipe.num_nodes if history.is_created else 1
    if not 0 <= node < num_nodes:
        raise UsageError(f"--node {node}: the run has {'one node, 0' if num_nodes == 1 else f'nodes 0 to {num_nodes - 1}'}")
    return node


def _numbers(args: argparse.Namespace, history: History) -> list[int]:
    known = list(history.state.attempts) if history.is_created else []
    return [number for number in known if args.attempt in (None, number)]


def _check_attempt(args: argparse.Namespace, history: History) -> None:
    known = list(history.state.attempts)
    if args.attempt not in known and not args.follow:
        raise UsageError(f"--attempt {args.attempt}: the run has {f'attempts 1 to {max(known)}' if known else 'no attempt yet'}")


def _of_supervisors(args: argparse.Namespace, found: Found, history: History, wait: Callable[[Seconds], None]) -> Iterator[Piece]:
    """The log that this home keeps; each supervisor writes where it runs, so another home's is elsewhere."""
    path = home_of(args).log_of(found.head.run)
    if not path.is_file():
        raise UsageError(f"no supervisor of {found.head.run} has written to {path}; it logs in the home where it runs")
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    yield Piece(0, b"".join(lines if args.tail is None else lines[len(lines) - min(args.tail, len(lines)) :]))
    num_read = len(data)
    for _ in looks(history, wait=wait) if args.follow else ():
        with path.open("rb") as file:
            file.seek(num_read)
            fresh = file.read()
        num_read += len(fresh)
        yield Piece(0, fresh)


def _write(pieces: Iterable[Piece], *, is_quiet: bool) -> None:
    """Each attempt's output begins on a line of its own, behind a mark that a file keeps; -q leaves the marks out."""
    last: Piece | None = None
    for piece in pieces:
        if last is not None and last.attempt != piece.attempt and not last.data.endswith(b"\n"):
            _out(b"\n")
        if not is_quiet and (last is None or last.attempt != piece.attempt):
            _out(f"--- attempt {piece.attempt}\n".encode())
        _out(piece.data)
        last = piece if piece.data else last
    if last is None and not is_quiet:
        print("nothing was printed yet", file=sys.stderr)


def _out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _json(pieces: Iterable[Piece]) -> list[dict[str, object]]:
    texts: dict[int, bytes] = {}
    for piece in pieces:
        texts[piece.attempt] = texts.get(piece.attempt, b"") + piece.data
    return [
        {"attempt": number or None, "lines": data.decode("utf-8", "replace").splitlines()}
        for number, data in sorted(texts.items())
    ]
