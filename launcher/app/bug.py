"""The report of a bug of ours: what a maintainer needs, in a file, with nothing that the user would not want to send.

Values of `key=value` words and the query parts of URLs may be secrets, so only their names are kept. A trace holds the words of
other libraries too: `log.redacted` hides in it what it hides everywhere.
"""

import os
import platform
import re
import sys
import tempfile
import time
import traceback

from launcher import __version__, log

_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


def write_bug_report(words: list[str], error: BaseException, home: str) -> str:
    """Write the report below `home`, or below the system's temporary folder where that cannot be written; gives its path."""
    text = log.redacted(_report(words, error))
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (os.path.join(home, "reports"), tempfile.gettempdir()):
        path = os.path.join(folder, name)
        try:
            os.makedirs(folder, exist_ok=True)
            with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return path
        except OSError:
            continue  # a home that cannot be written may be the very trouble being reported
    return "no file: neither the home nor the temporary folder can be written"


def redacted(words: list[str]) -> list[str]:
    """Words of a command line without values that may be secret."""
    return [_without_value(_USER_IN_URL.sub("…@", word)) for word in words]


def _without_value(word: str) -> str:
    name, found, _ = word.partition("?" if "://" in word else "=")
    return f"{name}{found}…" if found else word


def _report(words: list[str], error: BaseException) -> str:
    return "\n".join(
        (
            f"launch {__version__}",
            f"python {platform.python_version()} ({sys.executable})",
            f"platform {platform.platform()}",
            f"words {redacted(words)}",
            "",
            *(part.rstrip("\n") for part in traceback.format_exception(error)),
            "",
        )
    )
