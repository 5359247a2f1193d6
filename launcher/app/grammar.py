"""What can be typed after `launch`, as one table.

The parser, the help, the completions and the "did you mean" all read it, so that they cannot disagree. `launch --help` must
answer in under 100 ms, so this module is plain tuples and imports nothing heavy; what a command does lives in
`app/commands/<name>.py` and is imported when it is asked for.

Words of PRODUCT that this version does not have yet are in the table too (`later`): whoever types one is told so.
"""

from collections.abc import Iterable
from typing import NamedTuple

FORMATS = ("table", "json", "yaml")
REPORT_FORMATS = (*FORMATS, "html", "md")
TOPICS = ("recipe", "exit-codes", "rehearsal", "contract", "environment")
SHELLS = ("bash", "zsh", "fish")
POLICIES = ("all", "auto", "greedy", "spot", "on-demand", "cheapest")
PRICES = ("total", "spot", "on-demand", "gpu-hour")
GROUPS = ("gpu", "cloud", "region", "zone")


class Flag(NamedTuple):
    """An option. Without `metavar` it is a switch."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    dest: str | None = None  # default: the last name, with underscores
    is_repeatable: bool = False  # a list of values; for a switch, how often it was given
    is_number: bool = False
    choices: tuple[str, ...] = ()
    later: bool = False

    @property
    def attribute(self) -> str:
        return self.dest or self.names[-1].lstrip("-").replace("-", "_")


class Word(NamedTuple):
    """A positional argument, by the name of its attribute."""

    name: str
    metavar: str
    is_optional: bool = False
    choices: tuple[str, ...] = ()


class Command(NamedTuple):
    name: str
    help: str
    words: tuple[Word, ...] = ()
    flags: tuple[Flag, ...] = ()
    takes_overrides: bool = False  # key=value words after the others, in `args.overrides`
    formats: tuple[str, ...] = FORMATS
    later: bool = False


HELP = Flag(("-h", "--help"), "show this help")
GLOBAL_FLAGS = (
    HELP,
    Flag(("--home",), "where runs are kept (LAUNCH_HOME; default ~/.launch)", "DIR"),
    Flag(("-o", "--output"), "what stdout carries: table, json or yaml", "FORMAT"),
    Flag(("-q", "--quiet"), "say less on stderr"),
    Flag(("-v", "--verbose"), "say more on stderr", is_repeatable=True),
    Flag(("-y", "--yes"), "do not ask; where there is no terminal, only this counts as yes"),
    Flag(("--dry-run", "--dryrun"), "say what would happen, and do nothing", dest="dry_run"),
)

RECIPE = Word("recipe", "RECIPE")
ANY_RECIPE = Word("recipe", "RECIPE", is_optional=True)
RUN = Word("run", "RUN")
ANY_RUN = Word("run", "RUN", is_optional=True)
NAME = Flag(("-n", "--name"), "name of the run", "NAME")
ENV = Flag(("-e", "--env"), "set a variable of the program", "KEY=VALUE", is_repeatable=True)
DETACH = Flag(("-d", "--detach"), "supervise in the background, whatever becomes of the terminal")
SECRET = Flag(("--secret",), "name of a variable to pass on, kept out of all logs", "KEY", is_repeatable=True, later=True)

COMMANDS = (
    Command(
        "train",
        "plan, and train under supervision",
        (RECIPE,),
        (
            NAME,
            ENV,
            Flag(("--keep-failed",), "keep the machine of the failure that ends the run for a look, such as 30m", "DURATION"),
            DETACH,
            SECRET,
        ),
        takes_overrides=True,
    ),
    Command(
        "resume",
        "continue a run from its newest valid checkpoint",
        (ANY_RUN,),
        (
            Flag(("--from",), "go back to the newest checkpoint at or before STEP", "STEP", "from_step", is_number=True),
            Flag(("--allow-change",), "let KEY change although training depends on it", "KEY", is_repeatable=True),
            DETACH,
        ),
        takes_overrides=True,
    ),
    Command(
        "plan",
        "what train would do; touches nothing",
        (RECIPE,),
        (
            NAME,
            ENV,
            SECRET,
            Flag(("--work",), "on clouds: how long it trains, such as 10h or 3e20flop", "WORK"),
            Flag(("--state",), "on clouds: how large one checkpoint is, such as 14GB", "SIZE"),
            Flag(("--data",), "on clouds: what each machine reads, such as 500GB@aws/us-east-1", "SIZE"),
            Flag(("--store-in",), "on clouds: where checkpoint.dir lies, such as aws/us-east-1", "PLACE"),
        ),
        takes_overrides=True,
    ),
    Command(
        "prices",
        "offers across clouds",
        (Word("gpu", "GPU[:N]", is_optional=True),),
        (
            Flag(("--spot",), "only where there is spot"),
            Flag(("--on-demand",), "only what can be had on demand"),
            Flag(("--cloud",), "only this cloud; give it again for another", "CLOUD", is_repeatable=True),
            Flag(("--region",), "only this region; give it again for another", "REGION", is_repeatable=True),
            Flag(
                ("--sort",), "by spot, on-demand, total (with --for) or gpu-hour: the lower one, per GPU", "PRICE", choices=PRICES
            ),
            Flag(("--group-by",), "only the cheapest of each gpu, cloud, region or zone", "WHAT", choices=GROUPS),
            Flag(("--for",), "rank by the cost to finish RECIPE", "RECIPE", "for_recipe"),
            Flag(("--refresh",), "fetch the lists anew from SkyPilot's catalog"),
            Flag(("--history",), "what spot prices did over all refreshes"),
        ),
        formats=(*FORMATS, "csv"),
    ),
    Command("runs", "all runs in the home, one line each"),
    Command("status", "one run in detail", (ANY_RUN,), (Flag(("-w", "--watch"), "go on showing"),)),
    Command("events", "every decision and fact of a run, with its reason", (ANY_RUN,)),
    Command(
        "logs",
        "the program's output, all attempts in one stream",
        (ANY_RUN,),
        (
            Flag(("-f", "--follow"), "go on as lines come"),
            Flag(("--attempt",), "only attempt N", "N", is_number=True),
            Flag(("--node",), "of several machines not node 0, but N", "N", is_number=True),
            Flag(("--supervisor",), "the supervisor's log instead"),
            Flag(("--tail",), "only the last N lines", "N", is_number=True),
        ),
    ),
    Command(
        "report",
        "cost, savings and goodput of a run",
        (ANY_RUN,),
        (Flag(("--all",), "all runs of the home"), Flag(("--since",), "with --all: not older than, such as 30d", "DURATION")),
        formats=REPORT_FORMATS,
    ),
    Command("stop", "save, then stop; checkpoints stay", (RUN,)),
    Command("cancel", "end a run now, without waiting; checkpoints stay, and `resume` goes on after all", (RUN,)),
    Command("rm", "delete a run's checkpoints and journal, whole", (RUN,)),
    Command("tick", "look after a run once, then exit: for cron, a function or a CronJob", (RUN,)),
    Command(
        "simulate",
        "what policies would do and cost on traces; trains nothing",
        (ANY_RECIPE,),
        (
            Flag(("--trace",), "a bundled trace or a CSV file; default: the recipe's", "TRACE", is_repeatable=True),
            Flag(("--policy",), "a policy, or all; default: the recipe's", "POLICY", is_repeatable=True, choices=POLICIES),
            Flag(("--seeds",), "how many seeds to simulate (20)", "N", is_number=True),
            Flag(("--seed",), "the first of them; default: local.seed", "SEED", is_number=True),
            Flag(("--work",), "how long the program trains, such as 10h", "DURATION"),
            Flag(("--replay",), "the market that RUN met, beside what really happened", "RUN"),
            ENV,
        ),
        takes_overrides=True,
    ),
    Command(
        "ckpt",
        "look after the checkpoints of a run",
        (Word("action", "ls|verify|pin|unpin", choices=("ls", "verify", "pin", "unpin")), ANY_RUN, Word("ref", "REF", True)),
        (Flag(("--all",), "with ls: every checkpoint, not only the newest 20"),),
    ),
    Command("ssh", "a shell on the live machine", (ANY_RUN,)),
    Command(
        "gc",
        "machines of ours that nobody wants, abandoned uploads; ends them with -y",
        (),
        (Flag(("--store",), "of a run that this home does not know; give it again for another", "URL", "stores", True),),
    ),
    Command(
        "doctor",
        "what works here: this machine, clouds, and the store of a recipe",
        (ANY_RECIPE,),
        (Flag(("--store",), "the store to try out, by its URL or folder", "URL"), ENV),
        takes_overrides=True,
    ),
    Command(
        "recipes",
        "the packaged recipes",
        (
            Word("action", "ls|show|cp|validate", choices=("ls", "show", "cp", "validate")),
            Word("recipe", "RECIPE", True),
            Word("target", "TARGET", True),
        ),
    ),
    Command(
        "config",
        "the resolved recipe, with the origin of each value",
        (Word("action", "show", choices=("show",)), RECIPE),
        (ENV,),
        takes_overrides=True,
    ),
    Command("dashboard", "a local web page over the runs", later=True),
    Command("help", f"a command, or one of: {', '.join(TOPICS)}", (Word("topic", "TOPIC", True),)),
    Command("completion", "completions for a shell, to be sourced", (Word("shell", "|".join(SHELLS), choices=SHELLS),)),
)

PRESENT = tuple(command for command in COMMANDS if not command.later)
LATER = tuple(command for command in COMMANDS if command.later)


def flags_of(command: Command) -> tuple[Flag, ...]:
    """The command's own flags and the global ones."""
    return (*command.flags, *GLOBAL_FLAGS)


def find(name: str) -> Command | None:
    return next((command for command in COMMANDS if command.name == name), None)


def overview() -> str:
    """What `launch --help` prints."""
    return "\n".join(
        (
            "usage: launch COMMAND [arguments]",
            "",
            "Train PyTorch models on spot GPUs without losing work. To begin: launch train quickstart",
            "",
            "commands:",
            *_columns((command.name, command.help) for command in PRESENT),
            "",
            "flags, before or after the command:",
            *_columns((_spelling(flag), flag.help) for flag in GLOBAL_FLAGS),
            *_columns([("--version", "show the version")]),
            "",
            f"in a later version: {', '.join(command.name for command in LATER)}",
            "launch COMMAND --help tells more. Launch reports nothing to anybody: no telemetry.",
        )
    )


def usage(command: Command) -> str:
    """What `launch COMMAND --help` prints."""
    words = [f"[{word.metavar}]" if word.is_optional else word.metavar for word in command.words]
    own = [flag for flag in command.flags if not flag.later]
    carried = f"what stdout carries: {', '.join(command.formats[:-1])} or {command.formats[-1]}"
    shared = [flag._replace(help=carried) if "-o" in flag.names else flag for flag in GLOBAL_FLAGS]
    return "\n".join(
        (
            " ".join(("usage: launch", command.name, *words, *["[KEY=VALUE ...]"] * command.takes_overrides, "[flags]")),
            "",
            command.help[0].upper() + command.help[1:] + ".",
            "",
            "flags:",
            *_columns((_spelling(flag), flag.help) for flag in (*own, *shared)),
        )
    )


def _spelling(flag: Flag) -> str:
    return ", ".join(flag.names) + (f" {flag.metavar}" if flag.metavar else "")


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {left:<26} {right}" for left, right in rows]
