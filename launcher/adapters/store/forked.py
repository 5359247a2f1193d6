"""Connections across a fork: what a child inherits it neither uses nor closes.

A file system belongs to a thread that does not exist in the child, and its sockets and its poll are the parent's as well. The
libraries close them when their objects go, or when the process ends: in a child that waits for ever for that thread, or takes
the parent's sockets out of the poll that both share, so that the parent never hears an answer again.
"""

import contextlib
import os
import weakref
from typing import Any

_made: list[tuple[weakref.ref[Any], Any]] = []  # by this process, each with its loop
_inherited: list[Any] = []  # held for ever, since letting go closes


def connected(fs: Any) -> Any:
    """`fs`, to be left alone by children that this process forks."""
    _made.append((weakref.ref(fs), fs.loop))
    return fs


def _leave_to_parent() -> None:
    loops = [loop for _, loop in _made]
    inherited = [fs for fs in (ref() for ref, _ in _made) if fs is not None]
    _inherited.extend((*inherited, *loops))
    _made.clear()
    ours = {id(fs) for fs in inherited}
    finalizers: Any = getattr(weakref.finalize, "_registry", {})  # the libraries keep theirs to themselves
    for finalizer in list(finalizers):
        alive = finalizer.peek()
        if alive is not None and id(alive[0]) in ours:
            finalizer.detach()
    for loop in loops:
        with contextlib.suppress(AttributeError, OSError):  # a loop of another kind has none
            loop._selector.close()  # this process's handle of the poll only


os.register_at_fork(after_in_child=_leave_to_parent)
