"""`launch completion SHELL`: a script for a shell to source, made from the same table as the parser.

What follows a command is one flat list of words for it: its flags, its choices, and for commands on a run the names in the
home's index, which the shell lists by itself so that a completion never starts Python.
"""

import argparse

from launcher.adapters.packaged import packaged
from launcher.app import grammar
from launcher.app.grammar import Command

_RUNS = 'ls "${LAUNCH_HOME:-$HOME/.launch}/index" 2>/dev/null | sed -n "s/[.]json$//p"'

_BASH = """\
# launch completion bash; use: source <(launch completion bash)
_launch() {
    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" word words
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in -*) ;; *) command="$word"; break ;; esac
    done
    case "$before" in
        -o|--output)
            case "$command" in
@REPORTS
                *) words="@FORMATS" ;;
            esac
            COMPREPLY=($(compgen -W "$words" -- "$current")); return ;;
        --home) COMPREPLY=($(compgen -d -- "$current")); return ;;
    esac
    case "$command" in
@CASES
        *) words="@FIRST" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _launch launch"""


def run(args: argparse.Namespace) -> int:
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell]())
    return 0


def bash() -> str:
    cases = "\n".join(f'        {c.name}) words="{_words(c)}"{_and_runs(c)} ;;' for c in grammar.PRESENT)
    own = [c for c in grammar.PRESENT if c.formats != grammar.FORMATS]
    reports = "\n".join(f'                {c.name}) words="{" ".join(c.formats)}" ;;' for c in own)
    return (
        _BASH.replace("@REPORTS", reports)
        .replace("@FORMATS", " ".join(grammar.FORMATS))
        .replace("@FIRST", _first_words())
        .replace("@CASES", cases)
    )


def zsh() -> str:
    """The bash function under zsh's own emulation of bash completion."""
    head = "# launch completion zsh; use: source <(launch completion zsh)\nautoload -Uz compinit bashcompinit\n"
    return f"{head}compinit\nbashcompinit\n{bash().split(chr(10), 1)[1]}"


def fish() -> str:
    lines = ["# launch completion fish; use: launch completion fish | source", "complete -c launch -e"]
    lines += [
        f"complete -c launch -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.help)}"
        for command in grammar.PRESENT
    ]
    for command in grammar.PRESENT:
        words = f"{_words(command)} {_fish_runs(command)}".strip()
        lines.append(f"complete -c launch -n '__fish_seen_subcommand_from {command.name}' -a {_quoted(words)}")
        seen = f"'__fish_seen_subcommand_from {command.name}'"
        lines.append(f"complete -c launch -n {seen} -s o -l output -x -a {_quoted(' '.join(command.formats))}")
    return "\n".join(lines)


def _first_words() -> str:
    flags = [name for flag in grammar.GLOBAL_FLAGS for name in flag.names]
    return " ".join([*(command.name for command in grammar.PRESENT), *flags, "--version"])


def _words(command: Command) -> str:
    """Everything fixed that may follow a command, blank-separated."""
    of_words = [choice for word in command.words for choice in word.choices]
    choices = [*of_words, *(choice for flag in command.flags for choice in flag.choices)]
    topics = [*grammar.TOPICS, *(c.name for c in grammar.PRESENT)] if command.name == "help" else []
    recipes = [name for name, _ in packaged()] if any(word.name == "recipe" for word in command.words) else []
    flags = [name for flag in grammar.flags_of(command) if not flag.later for name in flag.names]
    return " ".join([*choices, *topics, *recipes, *flags])


def _wants_run(command: Command) -> bool:
    return any(word.name == "run" for word in command.words) or any(flag.metavar == "RUN" for flag in command.flags)


def _and_runs(command: Command) -> str:
    return f'; words="$words $({_RUNS})"' if _wants_run(command) else ""


def _fish_runs(command: Command) -> str:
    home = '(test -n "$LAUNCH_HOME"; and echo $LAUNCH_HOME; or echo ~/.launch)'
    return f'(ls {home}/index 2>/dev/null | sed -n "s/[.]json\\$//p")' if _wants_run(command) else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
