"""The command line answers at once, understands what people type, and fails in one sentence with the documented code."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import __version__
from launcher.app import bug, cli, grammar
from launcher.app.commands import completion
from launcher.app.commands import help as help_command
from launcher.errors import NoCapacity, Overtaken
from tests.cli import past

HEAVY = ("rich", "omegaconf", "yaml", "torch", "fsspec", "sky", "tenacity", "asyncio", "numpy", "xxhash")
HEAVY += ("dataclasses", "inspect", "pathlib", "json", "subprocess", "tempfile", "logging")  # ours to avoid as well
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
START = "import sys; from launcher.app.cli import main; code = main({words!r}); "


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )


def parsed(*words: str) -> Namespace:
    name, rest = cli.split_command(list(words))
    command = grammar.find(name or "")
    assert command is not None
    return cli.parse(command, rest)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes every command raise what it is given."""

    def install(error: BaseException) -> None:
        def dispatch(command: grammar.Command, args: Namespace) -> int:
            raise error

        monkeypatch.setattr(cli, "_dispatch", dispatch)

    return install


# --- at once -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"]])
def test_help_and_version_load_nothing_heavy(words: list[str]):
    before = "import sys; known = set(sys.modules); "
    done = python(before + START.format(words=words) + f"print([m for m in {HEAVY} if m in set(sys.modules) - known])")
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_help_costs_less_than_a_tenth_of_a_second_of_cpu():
    """CPU, not wall, time of the process itself, interpreter included; the median forgives a disturbed run."""
    code = START.format(words=["--help"]) + "import time; print(time.process_time())"
    spent_s = statistics.median(float(python(code).stdout.splitlines()[-1]) for _ in range(5))
    assert spent_s < 0.1


# --- what people type --------------------------------------------------------------------------------------------------------


def test_global_flags_mean_the_same_before_and_after_the_command():
    before = parsed("-v", "--home", "h", "-o", "json", "-y", "train", "r.yaml")
    after = parsed("train", "r.yaml", "-y", "-o", "json", "--home", "h", "-v")
    assert before == after
    assert (before.verbose, before.output, before.yes) == (1, "json", True)


def test_both_spellings_of_a_dry_run_are_known():
    assert parsed("train", "r", "--dryrun").dry_run
    assert parsed("--dry-run", "train", "r").dry_run


def test_overrides_may_stand_among_the_flags():
    args = parsed("train", "quickstart", "local.seed=3", "-n", "otter", "policy.budget=5", "-e", "A=b=c")
    assert args.overrides == ["local.seed=3", "policy.budget=5"]
    assert (args.recipe, args.name, args.env) == ("quickstart", "otter", ["A=b=c"])


def test_resume_tells_a_run_from_an_override():
    assert (parsed("resume", "policy.budget=5").run, parsed("resume", "policy.budget=5").overrides) == (None, ["policy.budget=5"])
    assert parsed("resume", "s3://bucket/run=1", "a.b=2").run == "s3://bucket/run=1"
    args = parsed("resume", "otter", "--from", "120", "--allow-change", "a", "--allow-change", "b")
    assert (args.run, args.from_step, args.allow_change) == ("otter", 120, ["a", "b"])


def test_home_is_the_flag_then_the_variable_then_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAUNCH_HOME", "/from/variable")
    assert parsed("runs", "--home", "/from/flag").home == "/from/flag"
    assert parsed("runs").home == "/from/variable"
    monkeypatch.delenv("LAUNCH_HOME")
    assert parsed("runs").home == os.path.expanduser("~/.launch")


WRONG = [
    (["trian", "r"], "did you mean train?"),
    (["xyzzy"], "there is no command 'xyzzy'"),
    (["train"], "RECIPE"),
    (["train"], "required: RECIPE; see"),
    (["train", "r", "--budget", "5"], "write policy.budget=VALUE"),
    (["ckpt", "foo"], "knows ls, verify, pin, unpin, not 'foo'"),
    (["train", "a=b"], "needs a RECIPE before a=b"),
    (["train", "r", "oops"], "'oops' is not key=value"),
    (["train", "r", "-e", "NOVALUE"], "is not KEY=VALUE"),
    (["train", "r", "--detch"], "did you mean --detach?"),
    (["train", "r", "--secret", "K"], "--secret comes in a later version"),
    (["train", "r", "--name"], "expected one argument"),
    (["runs", "-o", "html"], "it has table, json, yaml"),
    (["runs", "extra"], "no place for 'extra'"),
    (["logs", "r", "--tail", "many"], "invalid int value: 'many'"),
    (["ckpt", "verfy", "r"], "did you mean verify?"),
    (["help", "me"], "there is no help on 'me'"),
    (["completion", "tcsh"], "bash, zsh, fish"),
    (["--bogus"], "no flag --bogus"),
    (["-v"], "a command is missing"),
    *(([command.name], "comes in a later version") for command in grammar.LATER),
]


@pytest.mark.parametrize(("words", "part"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_wrong_word_is_one_line_and_exit_2(words: list[str], part: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert part in said.err
    assert said.err.startswith("launch: ")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_no_words_show_the_help_and_are_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert cli.main([]) == 2
    assert capsys.readouterr().err.startswith("usage: launch COMMAND")


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"launch {__version__}\n"


# --- failures ----------------------------------------------------------------------------------------------------------------


def test_an_expected_error_has_its_own_exit_code_and_one_line(failing, capsys: pytest.CaptureFixture[str]):
    failing(NoCapacity("no A100 anywhere\nwithin $2.50/h"))
    assert cli.main(["runs"]) == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "launch: no A100 anywhere within $2.50/h\n")


@pytest.mark.parametrize("asking", [["-o", "json"], ["-ojson"], ["--output=json"]])
def test_under_json_an_error_is_a_document_too(failing, capsys: pytest.CaptureFixture[str], asking: list[str]):
    failing(Overtaken("otter is driven by somebody else"))
    assert cli.main(["runs", *asking]) == 7
    error = {"kind": "Overtaken", "message": "otter is driven by somebody else", "exit_code": 7}
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "error": error}


def test_even_an_unparsable_line_answers_in_json(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["-o", "json", "trian"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_an_interrupt_is_130(failing, capsys: pytest.CaptureFixture[str]):
    failing(KeyboardInterrupt())
    assert cli.main(["runs"]) == 130
    assert capsys.readouterr().err == "launch: interrupted\n"


def test_an_interrupt_that_argparse_falls_over_is_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(parser: ArgumentParser) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ArgumentParser, "format_usage", interrupted)
    assert cli.main(["status"]) == 130
    assert capsys.readouterr().err == "launch: interrupted\n"


def test_a_bug_is_70_and_leaves_a_report_without_secrets(failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    failing(AssertionError("the sum is off; asked for s3://b/k?X-Amz-Signature=hush with Authorization: Bearer hush.hush"))
    words = ["train", "r", "-e", "TOKEN=hush", "checkpoint.dir=s3://key:hush@bucket/x", "--home", str(tmp_path), "-o", "json"]
    assert cli.main(words) == 70
    said = capsys.readouterr()
    report = Path(json.loads(said.out)["error"]["report"])
    assert said.err.count("\n") == 1
    assert str(report) in said.err
    assert report.parent == tmp_path / "reports"
    text = report.read_text()
    assert "the sum is off" in text
    assert f"launch {__version__}" in text
    assert "hush" not in text


def test_a_bug_with_an_unwritable_home_is_reported_elsewhere(failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    failing(RuntimeError())
    assert cli.main(["runs", "--home", str(tmp_path / "file" / "home"), "-o", "json"]) == 70
    report = Path(json.loads(capsys.readouterr().out)["error"]["report"])
    assert "RuntimeError" in report.read_text()
    report.unlink()


def test_words_of_a_report_keep_names_and_lose_values():
    words = ["train", "-e", "K=v", "https://u:p@host/x?sig=1", "--home=/h"]
    assert bug.redacted(words) == ["train", "-e", "K=…", "https://…@host/x?…", "--home=…"]


def test_a_reader_that_goes_away_is_no_bug():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", START.format(words=["help", "recipe"]) + "sys.exit(code)"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def on_a_full_disk(*words: str) -> tuple[int, str]:
    code, _, said = in_shell(">/dev/full", *words)
    return code, said


def in_shell(redirection: str, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that is given its streams so."""
    code = START.format(words=list(words)) + "sys.exit(code)"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [("--version",), ("runs", "-o", "json"), ("status", "nope", "-o", "json")])
def test_a_stdout_that_is_closed_is_no_bug(words: tuple[str, ...]):
    assert in_shell(">&- 2>&-", *words) == (74, "", "")
    code, _, said = in_shell(">&-", *words)
    assert (code, said.splitlines()[-1]) == (74, "launch: stdout cannot be written: Bad file descriptor")


@pytest.mark.parametrize("where", ["2>&-", "<&- 2>&-", pytest.param("2>/dev/full", marks=FULL)])
def test_what_cannot_be_said_on_stderr_is_dropped_and_never_goes_to_stdout(where: str):
    past.keep(past.preempted())
    assert in_shell(where, "nope") == (2, "", "")
    assert in_shell(where, "logs", "r")[:2] == (0, "")  # it says so where nothing was printed
    assert in_shell(where, "rm", "r")[:2] == (2, "")  # it asks, where there is a terminal


def test_no_file_of_a_run_has_the_number_of_a_stream_that_is_closed():
    code = "sys.exit(open('/dev/null').fileno())"
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", START.format(words=["--version"]) + code]
    assert subprocess.run(words, timeout=60, check=False, cwd=Path(__file__).parents[2]).returncode > 2


@FULL
@pytest.mark.parametrize("words", [("help", "recipe"), ("runs", "-o", "json"), ("status", "nope", "-o", "json")])
def test_a_full_disk_below_stdout_is_no_bug(words: tuple[str, ...]):
    code, said = on_a_full_disk(*words)
    assert code == 74
    assert said.splitlines()[-1] == "launch: stdout cannot be written: No space left on device"


@FULL
def test_how_a_run_stands_is_told_where_its_result_cannot_be_written():
    past.keep(past.preempted())
    code, said = on_a_full_disk("resume", "r")
    assert (code, said.count("\n")) == (74, 1)
    assert "r is SUCCEEDED, with exit code 0; `launch status r` and `launch report r` tell more" in said


def test_python_without_assertions_is_refused():
    done = python(START.format(words=["help"]) + "sys.exit(code)", PYTHONOPTIMIZE="1")
    assert done.returncode == 2
    assert "PYTHONOPTIMIZE" in done.stderr


# --- help and completions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", [*grammar.TOPICS, *(command.name for command in grammar.COMMANDS)])
def test_there_is_help_on_every_topic_and_command(topic: str):
    assert help_command.text_on(topic)
    assert all(len(line) <= 130 for line in help_command.text_on(topic).splitlines())


def test_help_is_a_document_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["help", "contract", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema_version"], told["topic"]) == (1, "contract")
    assert "LAUNCH_CHECKPOINT_DIR" in told["text"]


@pytest.mark.parametrize(
    ("topic", "told", "untrue"),
    [
        ("train", "plan, and train", "confirm"),  # it never asks
        ("cancel", "`resume` goes on after all", "for good"),
        ("contract", "renames into place", "how-manieth"),
    ],
)
def test_help_says_what_happens(topic: str, told: str, untrue: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["help", topic]) == 0
    said = capsys.readouterr().out
    assert told in said.replace("Plan", "plan")
    assert untrue not in said


def test_the_overview_names_every_command():
    assert all(command.name in grammar.overview() for command in grammar.COMMANDS)


def test_help_asked_of_a_command_is_its_usage(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["-v", "resume", "otter", "--help"]) == 0
    assert capsys.readouterr().out == grammar.usage(grammar.find("resume")) + "\n"  # type: ignore[arg-type]


def test_bash_completes_commands_flags_choices_and_runs(tmp_path: Path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "quiet-otter.json").touch()
    script = (
        completion.bash()
        + """
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _launch; echo "${COMPREPLY[*]}"; }
ask launch tr
ask launch -v logs qui
ask launch logs --fol
ask launch runs -o js
ask launch runs -o ht
ask launch report -o ht
ask launch train quick
ask launch ckpt ver
ask launch simulate cheap
ask launch simulate --replay qui
ask launch help exit
ask launch dash
"""
    )
    done = subprocess.run(
        ["bash", "-u"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LAUNCH_HOME": str(tmp_path)},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "train",
        "quiet-otter",
        "--follow",
        "json",
        "",
        "html",
        "quickstart",
        "verify",
        "cheapest",
        "quickstart quiet-otter",
        "exit-codes",
        "",
    ]


@pytest.mark.parametrize(("shell", "check"), [("zsh", ["-f", "-n"]), ("fish", ["--no-config", "--no-execute"])])
def test_other_shells_accept_their_completions(shell: str, check: list[str], tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "completions"
    script.write_text({"zsh": completion.zsh, "fish": completion.fish}[shell]())
    done = subprocess.run([shell, *check, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_documented_exit_code_is_in_the_help():
    documented = re.findall(r"^\| (\d+) \|", (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text(), re.MULTILINE)
    told = re.findall(r"^  (\d+) ", help_command.text_on("exit-codes"), re.MULTILINE)
    assert told == documented
