"""Recipes that cannot be accepted: each is refused in one line a problem that names key, file, line and remedy."""

import contextlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.adapters.recipe_file import leaves, load, parse
from launcher.adapters.recipe_values import NUM_TOLD_MOST
from launcher.core.recipe import Recipe
from launcher.errors import RecipeError
from tests.cli.past import forbidden, launch

RUN = "run: python train.py\n"
TRAINER = "trainer: {kind: my.trainer, steps: 10}\n"


MALFORMED: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    # the file
    "empty": ("", ("recipe.yaml is empty", "launch recipes show")),
    "only comments": ("# nothing\n", ("recipe.yaml is empty",)),
    "a list": ("- run: x\n", ("recipe.yaml:1", "a mapping, not a list")),
    "one word": ("hello\n", ("recipe.yaml:1", "'hello'", "name: my-run")),
    "tabs": ("resources:\n\tinfra: local\n", ("recipe.yaml:2", "spaces, not tabs")),
    "open bracket": (RUN + "secrets: [A, B\n", ("recipe.yaml:3", "brackets")),
    "open quote": (RUN + "name: 'abc\n", ("recipe.yaml:", "quotes")),
    "colon in text": ("run: echo a: b\n", ("recipe.yaml:1", "put text that holds ': ' in quotes")),
    "two documents": (RUN + "---\nrun: b\n", ("recipe.yaml:2", "one document")),
    "a key twice": (RUN + "name: a\nname: b\n", ("recipe.yaml:3", "'name' stands twice", "line 2")),
    "a nested key twice": (RUN + "policy:\n  budget: 1\n  budget: 2\n", ("recipe.yaml:4", "'budget' stands twice")),
    "a tag": (RUN + "name: !!python/name:os.system x\n", ("recipe.yaml:2", "tag", "plainly")),
    "an unknown alias": (RUN + "name: *here\n", ("recipe.yaml:2", "anchor")),
    "a key that is a list": ("[a]: b\n", ("recipe.yaml:1", "key must be plain text")),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe", ("recipe.yaml is not UTF-8 text",)),
    "control characters": (b"run: a\x00b\n", ("recipe.yaml", "not text")),
    "huge": ("# " + "x" * 300_000, ("larger than 256 kB",)),
    "an alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
        ("recipe.yaml:", "too many values"),
    ),
    "an alias of itself": ("a: &a [*a]\n", ("recipe.yaml:1", "too many values")),
    "nested too deeply": ("[" * 5000, ("nested too deeply",)),
    "a number without end": (RUN + "policy:\n  budget: 1e400\n", ("recipe.yaml:3: policy.budget: '1e400' is not a number",)),
    # the program
    "neither run nor trainer": ("name: x\n", ("neither run nor trainer", "recipe.yaml", "run: python train.py")),
    "run and trainer": (RUN + TRAINER, ("run (recipe.yaml:1) and trainer (recipe.yaml:2)", "keep one")),
    "a blank run": ("run: '  '\n", ("run is '  ' (recipe.yaml:1)", "write the command")),
    "run as a list": ("run: [python, train.py]\n", ("run is ['python'", "(recipe.yaml:1)", "one text")),
    "a trainer without kind": ("trainer: {steps: 3}\n", ("trainer.kind is empty (recipe.yaml:1)", "launcher.trainers.gpt")),
    "a trainer that is a file": ("trainer: {kind: train.py/x}\n", ("trainer.kind is 'train.py/x'", "dotted name")),
    "a trainer of ours that is not": (
        "trainer:\n  kind: launcher.trainers.gtp\n",
        ("trainer.kind", "recipe.yaml:2", "did you mean 'launcher.trainers.gpt'?"),
    ),
    "no steps": ("trainer:\n  kind: my.trainer\n  steps: 0\n", ("trainer.steps is 0 (recipe.yaml:3)", "at least 1")),
    "steps as words": ("trainer:\n  kind: my.trainer\n  steps: many\n", ("trainer.steps is 'many'", "whole number")),
    "an argument our trainer has not": (
        "trainer:\n  kind: launcher.trainers.gpt\n  stepz: 3\n",
        ("unknown key trainer.stepz (recipe.yaml:3)", "did you mean 'steps'?"),
    ),
    "an argument in words": (
        "trainer:\n  kind: launcher.trainers.gpt\n  lr: fast\n",
        ("trainer.lr is 'fast' (recipe.yaml:3)", "a number such as"),
    ),
    "half a layer": ("trainer:\n  kind: launcher.trainers.gpt\n  layers: 1.5\n", ("trainer.layers is 1.5", "a whole number")),
    "no layers": (
        "trainer:\n  kind: launcher.trainers.gpt\n  layers: 0\n",
        ("trainer.layers is 0", "at least 1"),
    ),
    "layers without end": (
        f"trainer:\n  kind: launcher.trainers.gpt\n  width: 1{'0' * 400}\n",
        ("trainer.width is 1000", "(recipe.yaml:3)", "below 10^9"),
    ),
    "a switch of a trainer in words": (
        "trainer:\n  kind: launcher.trainers.gpt\n  recompute: 1\n",
        ("trainer.recompute is 1 (recipe.yaml:3)", "true or false"),
    ),
    "a number of a trainer as a switch": (
        "trainer:\n  kind: launcher.trainers.gpt\n  layers: true\n",
        ("trainer.layers is True (recipe.yaml:3)", "a whole number"),
    ),
    "a trainer that is a word": ("trainer: gpt\n", ("trainer is 'gpt' (recipe.yaml:1)", "mapping")),
    # keys
    "an unknown key": (RUN + "checkpont: {every: 5m}\n", ("unknown key checkpont (recipe.yaml:2)", "did you mean 'checkpoint'?")),
    "an unknown key inside": (RUN + "policy:\n  dedline: 6h\n", ("policy.dedline (recipe.yaml:3)", "'deadline'")),
    "a key without its block": (RUN + "deadline: 6h\n", ("unknown key deadline (recipe.yaml:2)", "'policy.deadline'")),
    "a key near to none": (RUN + "zzzz: 1\n", ("unknown key zzzz (recipe.yaml:2)", "known keys: ")),
    "a SkyPilot key misspelt": (RUN + "file_mount: {/a: b}\n", ("file_mount", "recipe.yaml:2", "'file_mounts'")),
    "an unknown resource": (
        RUN + "resources:\n  acelerators: A100\n",
        ("resources.acelerators (recipe.yaml:3)", "'accelerators'"),
    ),
    "a block that is a word": (RUN + "checkpoint: often\n", ("checkpoint is 'often' (recipe.yaml:2)", "mapping with keys")),
    "an internal key": (RUN + "not_rehearsed: {a: 1}\n", ("unknown key not_rehearsed",)),
    # durations, money, numbers
    "a wrong unit": (
        RUN + "policy:\n  deadline: 6 hors\n",
        ("policy.deadline is '6 hors' (recipe.yaml:3)", "a duration such as '6h'"),
    ),
    "a duration without unit": (RUN + "autostop: 12\n", ("autostop is 12 (recipe.yaml:2)", "duration such as '6h'")),
    "no time at all": (RUN + "policy: {deadline: 0h}\n", ("policy.deadline is '0h' (recipe.yaml:2)", "'6h'")),
    "a day that is none": (RUN + "policy: {deadline: 2027-02-30}\n", ("policy.deadline is '2027-02-30'", "date-time such as")),
    "a negative duration": (RUN + "retry: {capacity: -6h}\n", ("retry.capacity is '-6h' (recipe.yaml:2)", "duration")),
    "a budget of nothing": (RUN + "policy: {budget: 0}\n", ("policy.budget is 0 (recipe.yaml:2)", "more than 0")),
    "a budget in words": (RUN + "policy: {budget: forty}\n", ("policy.budget is 'forty'", "'40.00'")),
    "a budget beyond numbers": (RUN + "policy: {budget: .inf}\n", ("policy.budget is '.inf'", "dollars")),
    "no nodes": (RUN + "num_nodes: 0\n", ("num_nodes is 0 (recipe.yaml:2)", "at least 1")),
    "half a node": (RUN + "num_nodes: 1.5\n", ("num_nodes is 1.5 (recipe.yaml:2)", "whole number")),
    "a truth for a number": (RUN + "num_nodes: true\n", ("num_nodes is True (recipe.yaml:2)", "whole number")),
    "a number beyond reason": (RUN + "num_nodes: " + "9" * 5000 + "\n", ("recipe.yaml:2", "not a number")),
    "a negative retry": (RUN + "retry: {preemption: -1}\n", ("retry.preemption is -1", "'unlimited'")),
    "no standing still": (RUN + "local: {speed: 0}\n", ("local.speed is 0 (recipe.yaml:2)", "auto")),
    "outputs of the whole machine": (RUN + "outputs: /etc\n", ("outputs is '/etc' (recipe.yaml:2)", "below the workdir")),
    "outputs beside the workdir": (RUN + "outputs: out/../../x\n", ("outputs is 'out/../../x'", "below the workdir")),
    "slower than the market": (RUN + "local: {speed: 0.001}\n", ("local.speed is 0.001 (recipe.yaml:2)", "the least is 1")),
    "a speed in words": (RUN + "local: {speed: fast}\n", ("local.speed is 'fast'", "auto")),
    "no checkpoint kept": (RUN + "checkpoint: {keep: {last: 0}}\n", ("checkpoint.keep.last is 0 (recipe.yaml:2)", "at least 1")),
    "keep every so often": (RUN + "checkpoint: {keep: {every: 5m}}\n", ("checkpoint.keep.every is '5m'", "'1000 steps'")),
    "an interval in words": (
        RUN + "checkpoint: {every: often}\n",
        ("checkpoint.every is 'often'", "auto", "never", "'200 steps'"),
    ),
    "an interval of no steps": (RUN + "checkpoint: {every: 0 steps}\n", ("checkpoint.every is '0 steps'", "'200 steps'")),
    "a switch in words": (RUN + "checkpoint: {on_notice: maybe}\n", ("checkpoint.on_notice is 'maybe'", "true or false")),
    # names and places
    "a name with a blank": (RUN + "name: my run\n", ("name is 'my run' (recipe.yaml:2)", "small letters")),
    "a name that is a path": (RUN + "name: ../x\n", ("name is '../x' (recipe.yaml:2)", "small letters")),
    "a name without end": (RUN + f"name: {'x' * 200}\n", ("name is 'xxx", "at most 40")),
    "an unknown cloud": (RUN + "resources: {infra: asw}\n", ("resources.infra is 'asw' (recipe.yaml:2)", "did you mean 'aws'?")),
    "local among clouds": (RUN + "resources: {infra: [local, aws]}\n", ("resources.infra", "stands alone")),
    "a place said twice": (
        RUN + "resources:\n  infra: aws\n  region: r\n",
        ("resources.region is 'r' (recipe.yaml:4)", "infra:"),
    ),
    "no GPU at all": (RUN + "resources: {accelerators: 'A100:0'}\n", ("resources.accelerators is 'A100:0'", "'A100:8'")),
    "a GPU with a blank": (RUN + "resources: {accelerators: A100 x 8}\n", ("resources.accelerators is 'A100 x 8'", "'A100:8'")),
    "auto for two": (RUN + "resources: {accelerators: 'auto:2'}\n", ("resources.accelerators is 'auto:2'", "'40GB+:8'")),
    "auto among GPUs": (RUN + "resources:\n  accelerators: [auto, A100]\n", ("resources.accelerators", "stands alone")),
    "auto for a program": (
        RUN + "resources:\n  accelerators: auto\n",
        ("resources.accelerators is 'auto' (recipe.yaml:3)", "a program under `run:`", "such as '40GB+'"),
    ),
    "auto for a trainer unknown": (
        "trainer: {kind: my.trainer}\nresources:\n  accelerators: auto\n",
        ("resources.accelerators is 'auto' (recipe.yaml:3)", "my.trainer", "such as '40GB+'"),
    ),
    "memory without a unit": (RUN + "resources: {accelerators: 40+}\n", ("resources.accelerators is '40+'", "'40GB+'")),
    "no memory": (RUN + "resources: {accelerators: 0GB+}\n", ("resources.accelerators is '0GB+'", "'40GB+'")),
    "memory of no GPU": (RUN + "resources: {accelerators: '40GB+:0'}\n", ("resources.accelerators is '40GB+:0'", "'40GB+'")),
    "memory of another maker": (RUN + "resources: {accelerators: 'amd:40GB+'}\n", ("'amd:40GB+'", "'40GB+'")),
    "spot perhaps": (RUN + "resources: {use_spot: perhaps}\n", ("resources.use_spot is 'perhaps'", "true, false or auto")),
    "a disk in words": (RUN + "resources: {disk_size: big}\n", ("resources.disk_size is 'big'", "'256GB'")),
    "no free machine": (RUN + "resources: {max_hourly_cost: 0}\n", ("resources.max_hourly_cost is 0", "more than 0")),
    "a store unknown": (
        RUN + "checkpoint: {dir: 's4://b/x'}\n",
        ("checkpoint.dir is 's4://b/x' (recipe.yaml:2)", "did you mean 's3'?"),
    ),
    "a store without bucket": (RUN + "checkpoint: {dir: 's3://'}\n", ("checkpoint.dir is 's3://'", "bucket")),
    "a strategy unknown": (RUN + "policy: {strategy: gredy}\n", ("policy.strategy is 'gredy'", "did you mean 'greedy'?")),
    "a strategy that sounds good": (
        RUN + "policy: {strategy: fastest}\n",
        ("write one of auto, greedy, spot, on-demand, cheapest",),
    ),
    "a trace unknown": (RUN + "local: {trace: livley}\n", ("local.trace is 'livley'", "did you mean 'lively'?")),
    "a trace file missing": (
        RUN + "local: {trace: mine.csv}\n",
        ("local.trace is 'mine.csv' (recipe.yaml:2)", "there is no file"),
    ),
    "a workdir missing": (RUN + "workdir: nowhere\n", ("workdir is 'nowhere' (recipe.yaml:2)", "there is no folder")),
    # variables and secrets
    "a variable misnamed": (
        RUN + "envs:\n  MY-VAR: 1\n",
        ("envs.MY-VAR is '1' (recipe.yaml:3)", "letters, digits and underlines"),
    ),
    "a variable of ours": (RUN + "envs: {LAUNCH_RUN_ID: x}\n", ("envs.LAUNCH_RUN_ID", "set by the agent")),
    "a variable to be given": (RUN + "envs:\n  TOKENS: null\n", ("envs.TOKENS is empty (recipe.yaml:3)", "--env TOKENS=")),
    "variables as a list": (RUN + "envs: [A=1]\n", ("envs is ['A=1'] (recipe.yaml:2)", "mapping of names")),
    "a variable and a secret": (RUN + "envs: {A: x}\nsecrets: [A]\n", ("envs.A (recipe.yaml:2)", "secrets")),
    "a tracker unknown": (RUN + "tracking: {wandbb: {}}\n", ("tracking.wandbb", "did you mean 'wandb'?")),
    "an occasion unknown": (
        RUN + "notify: [{url: x, on: [faild]}]\n",
        ("notify.0.on", "recipe.yaml:2", "did you mean 'failed'?"),
    ),
    "a data set misnamed": (RUN + "data: {my-set: s3://b/x}\n", ("data.my-set", "recipe.yaml:2", "letters")),
    # layers
    "an unset variable": (
        RUN + "policy: {budget: '${oc.env:NO_SUCH_VAR}'}\n",
        ("policy.budget", "recipe.yaml:2", "NO_SUCH_VAR is not set"),
    ),
    "a broken interpolation": (RUN + "envs: {A: '${oc.env'}\n", ("envs.A is '${oc.env' (recipe.yaml:2)", "literal")),
    "an unknown resolver": (RUN + "outputs: ${nope:1}\n", ("outputs is '${nope:1}' (recipe.yaml:2)", "literal")),
    "a value left out": (RUN + "policy:\n  budget: ???\n", ("policy.budget is '???' (recipe.yaml:3)", "give it a value")),
    "an unknown fragment": ("defaults: [policy/dedline]\n" + RUN, ("'policy/dedline' (recipe.yaml:1)", "'policy/deadline'")),
    # spot without checkpoints
    "no checkpoints": (TRAINER + "checkpoint: null\n", ("checkpoint is empty (recipe.yaml:2)", "every: never")),
    "no interval": (TRAINER + "checkpoint: {every: null}\n", ("checkpoint.every is empty (recipe.yaml:2)", "every: never")),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_recipe_is_refused_in_one_line_that_names_place_and_remedy(case, recipe_at, tmp_path):
    text, fragments = MALFORMED[case]
    name = recipe_at(text)
    with pytest.raises(RecipeError) as refused:
        load(name)
    message = str(refused.value)
    assert "\n" not in message
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert len(message) < 700
    assert refused.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "secrets: {TOKEN: hunter2}",
        "secrets: [TOKEN=hunter2]",
        "secrets: [{TOKEN: hunter2}]",
        "secrets: TOKEN=hunter2",
        "secrets: ['${oc.env:MINE}']",
    ],
)
def test_a_secret_with_its_value_is_refused_and_the_value_never_printed(text, recipe_at, monkeypatch):
    monkeypatch.setenv("MINE", "hunter2")
    with pytest.raises(RecipeError, match=r"secrets \(recipe.yaml:2\).*names") as refused:
        load(recipe_at(RUN + text + "\n"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("policy.budget", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("policy..budget=3", "KEY=VALUE"),
        ("policy.budgt=3", "did you mean 'budget'?"),
        ("policy.budget=lots", "(on the command line)"),
        ("policy=3", "mapping"),
        ("policy.budget=1e400", "policy.budget on the command line:1: '1e400' is not a number"),
        ("local.speed=1e400", "'1e400' is not a number"),
        ("trainer.lr=-1e400", "'-1e400' is not a number"),
        ("secrets=[A=b", "on the command line"),
        ("notify.0.url=x", "(on the command line)"),
    ],
)
def test_a_wrong_override_is_refused_and_said_to_be_on_the_command_line(override, expected, recipe_at):
    with pytest.raises(RecipeError) as refused:
        load(recipe_at(RUN), [override])
    assert expected in str(refused.value)
    assert "on the command line" in str(refused.value)


def test_all_that_is_wrong_with_the_values_of_a_recipe_is_said_at_once(recipe_at, capsys):
    wrong = "resources: {infra: local, cpu: 4}\npolicy:\n  budget: lots\n  dedline: 6h\nretry: {error: -1}\nzzzz: 1\n"
    assert launch("plan", recipe_at(RUN + wrong), "-o", "json") == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert [re.findall(r"recipe.yaml:\d+", line) for line in lines] == [[f"recipe.yaml:{n}"] for n in (2, 4, 5, 6, 7)]
    assert all(line.startswith("launch: ") and "; " in line for line in lines)
    error = json.loads(said.out)["error"]
    assert (error["kind"], error["message"].splitlines()) == ("RecipeError", [line.removeprefix("launch: ") for line in lines])


def test_a_file_that_is_no_recipe_at_all_is_told_in_a_few_lines(recipe_at):
    with pytest.raises(RecipeError) as refused:
        load(recipe_at("".join(f"service{n}: {{image: x}}\n" for n in range(50))))
    assert len(refused.value.args) == NUM_TOLD_MOST + 1
    assert refused.value.args[-1] == f"and {50 - NUM_TOLD_MOST} more problems"


def test_a_missing_file_and_an_unknown_name_say_what_to_write_instead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, expected in [
        ("nope.yaml", "nope.yaml does not exist"),
        ("./", "is not a file"),
        ("quickstrat", "did you mean 'quickstart'"),
        ("x.yaml/y.yaml", "does not exist"),
    ]:
        with pytest.raises(RecipeError, match=expected):
            load(name)


def test_a_recipe_in_a_folder_that_may_not_be_looked_into_is_no_bug_of_ours(recipe_at, tmp_path):
    recipe_at(RUN, "secret/recipe.yaml")
    with forbidden(tmp_path / "secret"), pytest.raises(RecipeError, match=r"secret/recipe.yaml (cannot be read|does not exist)"):
        load("secret/recipe.yaml")


def test_an_error_in_a_fragment_names_the_fragment(recipe_at):
    recipe_at("policy:\n  budget: lots\n", "configs/mine.yaml")
    with pytest.raises(RecipeError, match=r"policy.budget is 'lots' \(configs/mine.yaml:2\)"):
        load(recipe_at("defaults: [mine]\n" + RUN))
    recipe_at("defaults: [policy/deadline]\n", "configs/mine.yaml")
    with pytest.raises(RecipeError, match=r"\(configs/mine.yaml:1\): a fragment names no fragments"):
        load("recipe.yaml")


def test_never_saving_on_spot_must_be_written_in_the_recipe_itself(recipe_at):
    recipe_at("checkpoint: {every: never}\n", "configs/never.yaml")
    with pytest.raises(RecipeError, match=r"checkpoint.every is 'never' \(configs/never.yaml:1\)"):
        load(recipe_at("defaults: [never]\n" + TRAINER))
    assert load(recipe_at(TRAINER + "checkpoint: {every: never}\n")).recipe.checkpoint.every == "never"
    assert load(recipe_at(TRAINER), ["checkpoint.every=never"]).recipe.checkpoint.every == "never"
    assert load(recipe_at("defaults: [never]\nresources: {use_spot: false}\n" + TRAINER)).recipe.checkpoint.every == "never"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_recipe_or_a_recipe_error_of_one_line_a_problem(text):
    try:
        said = (leaves(parse(text))["name"],)
    except RecipeError as refused:
        said = refused.args
    assert all(len(line.splitlines()) == 1 for line in said)


KEYS = [path for path in leaves(Recipe(name="x", run="y")) if path not in ("run", "trainer")]
NESTED = ["{a: b}", "[[1]]", "[{a: 1}]", "{}", "[{url: [a]}]", "{a: {b: [c]}}", "{1: 2}"]
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
ANYTHING = SCALARS | st.lists(st.text(max_size=5), max_size=2) | st.sampled_from(NESTED)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KEYS), ANYTHING)
def test_any_value_of_any_key_is_read_or_refused(key, value):
    with contextlib.suppress(RecipeError):
        parse("run: x\n", overrides=[f"{key}={value}"])
