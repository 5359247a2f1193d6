"""Runs a command that dies with the agent: `python -I -S leash.py AGENT_PID COMMAND …`.

Only a process itself can ask the kernel to be killed when its parent ends, and code between fork and exec is not safe in an agent
that has threads. So this small file becomes the command. It is run by its path, without our package, to cost milliseconds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; the setting survives exec
COMMAND_NOT_FOUND = 127  # as a shell would say it


def main(agent_pid: int, command: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != agent_pid:  # it ended before the kernel knew of our wish
        return 0
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"launch: {command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return COMMAND_NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
