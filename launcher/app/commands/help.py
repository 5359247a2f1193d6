"""`launch help [TOPIC]`: a command's usage, or a short text on something that concerns several commands."""

import argparse

from launcher.app import grammar
from launcher.errors import UsageError

RECIPE = """\
A recipe is one YAML file: what to train, on which machines, within which limits. Keys that SkyPilot has keep its names.

  defaults: [clouds/all, checkpoint/frequent]   fragments from configs/; later ones win
  name: my-run
  resources: {accelerators: [A100:1], infra: [aws, gcp], use_spot: auto, max_hourly_cost: 2.50}
  workdir: .                                    frozen at the start; every attempt runs the same code
  run: python train.py                          any program (`launch help contract`), or instead of it
  trainer: {kind: launcher.trainers.gpt, steps: 2000}
  checkpoint: {dir: "s3://bucket/my-run", every: auto, max_loss: 10m, keep: {last: 3}}
  policy: {deadline: 24h, budget: 40.00, strategy: auto}
  retry: {preemption: unlimited, capacity: 6h, quota: 24h, error: 2, same_checkpoint: 2, keep_failed: 0s}
  local: {trace: lively, seed: 7, speed: auto}  for `infra: local`: `launch help rehearsal`

Durations and sizes carry units: 90s, 1h30m, 16MiB, 2GB. An unknown key is an error that names the nearest known one.
A value can be changed on the command line: launch train my.yaml policy.budget=20
Packaged recipes: launch recipes ls. Where each value comes from: launch config show RECIPE."""

EXIT_CODES = """\
  0    done
  1    the user's program failed; its own code is in the JSON
  2    usage or recipe error
  3    no capacity within the limits, or nothing that fits
  4    budget or deadline reached; paused, and can be resumed
  5    credentials, quota or permission
  6    the checkpoint store failed
  7    another supervisor drives the run
  8    the proof failed: the resumed run differs from the uninterrupted one
  70   a bug of ours; the path of a report is printed
  74   the answer could not be written to stdout, as on a full disk or after `>&-`; what was done is done
  129  the terminal went away; machines train on, and nobody supervises
  130  interrupted or stopped; saved and paused
  131  cancelled
  141  whoever read stdout closed it, as in launch runs | head -1

With -o json a failure is a document too: {"schema_version": 1, "error": {"kind", "message", "exit_code"}}."""

REHEARSAL = """\
With `infra: local` the plan, the supervisor, the agent, the checkpoints and the report are those of the clouds; only the
machines are stand-ins. Each instance is a group of processes here, preempted with a real notice and a real SIGKILL at the
times that a trace gives. Nothing is billed, and rehearsed money is labelled wherever it is shown.

  local.trace   demo, calm, lively, harsh, or a CSV file of your own
  local.seed    equal seeds give each place the same lives
  local.speed   how much faster than real time the market runs; auto measures the work first, so that it is
                preempted at least three times

An uninterrupted reference run goes along, and in the end all losses and the final weights are compared.
Try it: launch train quickstart, then launch train quickstart local.trace=harsh"""

CONTRACT = """\
A program under `run:` needs no code of ours. It sees:

  LAUNCH_RUN_ID, LAUNCH_ATTEMPT   which run, and which of its lives: 1, 2, …
  LAUNCH_CHECKPOINT_DIR           a local folder, restored before the program starts and published while it runs
  LAUNCH_RESUME_STEP              the number of the restored commit; 0 when there is none
  LAUNCH_NOTICE_FILE              comes to exist when a preemption is announced; it holds the seconds left
  LAUNCH_DATA_<NAME>              the URL of each entry of `data:`

Write checkpoints into the folder, and load the newest one at the start if there is one: that makes a program fault
tolerant. A file is published when it is whole: nobody holds it open for writing, and its size, time and inode are the
same in two looks at least 2 s apart and after the copy. While any file in the folder is being written, a temporary one
too, nothing is published. So leave 5 s or more between saves in which nothing there changes, or keep all in one file that
each save writes within a moment under another name and renames into place. SIGTERM means: finish the step, save, exit 0.
A Python script that wants bit-exact saves in the background uses launcher.train."""

ENVIRONMENT = """\
  LAUNCH_HOME      where runs are kept, as --home; default ~/.launch
  XDG_STATE_HOME   the register of local instances lies in launch/ below it; default ~/.local/state
  NO_COLOR         when set, no colours
  LAUNCH_CATALOG   a folder of price lists, instead of those that `launch prices --refresh` fetches
  LAUNCH_CATALOG_URL   a mirror to fetch them from
  LAUNCH_GCP_API_KEY   lets --refresh ask GCP for its prices
  LAUNCH_AZURE_PRICES_URL, LAUNCH_GCP_PRICES_URL   other addresses to ask for live prices
  LAUNCH_TRAINER_DIR   where a script with launcher.train, run by hand, leaves its metrics and final weights

What the agent on a machine reads; on Kubernetes launch sets the second:

  LAUNCH_METADATA_URL   another address than http://169.254.169.254 to ask for notices, for tests
  LAUNCH_TERM_GRACE_S   the seconds from SIGTERM to SIGKILL

A recipe reads variables as ${oc.env:NAME} or, with a default, ${oc.env:NAME,null}. What the program sees:
launch help contract. Secrets are named in a recipe under `secrets:`; their values come from the environment."""

_TEXTS = dict(zip(grammar.TOPICS, (RECIPE, EXIT_CODES, REHEARSAL, CONTRACT, ENVIRONMENT), strict=True))


def run(args: argparse.Namespace) -> int:
    text = text_on(args.topic)
    if args.output == "table":
        print(text)
        return 0
    from launcher.app.answer import print_answer  # only here: help must load nothing heavy

    print_answer(args, {"topic": args.topic, "text": text}, [])
    return 0


def text_on(topic: str | None) -> str:
    """The help on a topic or a command. Raises UsageError where there is neither."""
    command = grammar.find(topic) if topic else None
    if topic is None:
        return grammar.overview()
    if topic in _TEXTS:
        return _TEXTS[topic]
    if command is None:
        raise UsageError(f"there is no help on {topic!r}; topics are {', '.join(grammar.TOPICS)}, and every command")
    if command.later:
        return f"`launch {command.name}` ({command.help}) comes in a later version."
    return grammar.usage(command)
