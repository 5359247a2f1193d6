"""Recipes: what is read, what may change, and that nothing is lost on the way through text."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.adapters.recipe_file import change, dump, leaves, load, packaged, parse
from launcher.adapters.recipe_text import write_duration
from launcher.core.recipe import (
    CheckpointSpec,
    Goal,
    Keep,
    LocalSpec,
    Notify,
    Recipe,
    Resources,
    RetrySpec,
)
from launcher.errors import RecipeError
from launcher.units import parse_duration

RUN = "run: python train.py\n"
TRAINER = "trainer: {kind: my.trainer, steps: 10}\n"


# --- what is read ------------------------------------------------------------------------------------------------------------

WHOLE_RECIPE = """
name: llama-lora
resources:
  accelerators: [A100:1, A100-80GB:1, L40S]
  infra: [aws, gcp/us-central1, kubernetes]
  use_spot: auto
  max_hourly_cost: 2.50
  disk_size: 200
  cpus: 8+
  memory: 32
  labels: {team: 007}
num_nodes: 2
data: {train: s3://corp-eu/tokens, residency: [eu]}
envs: {MODEL: Llama-3.2-1B, ID: 0123, ON: yes, RATE: 1e3, T: "1:30"}
secrets: [HF_TOKEN, WANDB_API_KEY]
setup: pip install -r requirements.txt
run: |
  torchrun --nproc_per_node ${GPUS} train.py
  echo "${oc.env:HOME}" $MODEL
outputs: out
checkpoint:
  dir: s3://corp-ckpt/llama
  every: 200 steps
  max_loss: 1h30m
  keep: {last: 3, best: 1, every: 1000 steps}
policy: {deadline: 24h, budget: 40.00, strategy: auto, on_demand_fallback: off}
retry: {preemption: 5, capacity: 6h, error: 2, same_checkpoint: 2}
autostop: 90m
tracking: {wandb: {project: ft}, mlflow: null, tensorboard: true}
notify: [{url: "${oc.env:NO_SLACK,null}", on: [preempted, done]}]
local: {trace: harsh, seed: 9, speed: 12.5}
file_mounts: {/data: "s3://bucket/${NAME}"}
"""


def test_every_key_of_the_specification_is_read_with_its_unit(recipe_at):
    recipe = load(recipe_at(WHOLE_RECIPE)).recipe
    assert recipe == Recipe(
        name="llama-lora",
        resources=Resources(
            accelerators=("A100:1", "A100-80GB:1", "L40S:1"),
            infra=("aws", "gcp/us-central1", "k8s"),
            max_hourly_cost=2.5,
            disk_size=200,
            cpus="8+",
            memory="32",
            labels={"team": "007"},
        ),
        num_nodes=2,
        data={"train": "s3://corp-eu/tokens"},
        residency=("eu",),
        envs={"MODEL": "Llama-3.2-1B", "ID": "0123", "ON": "yes", "RATE": "1e3", "T": "1:30"},
        secrets=("HF_TOKEN", "WANDB_API_KEY"),
        setup="pip install -r requirements.txt",
        run='torchrun --nproc_per_node ${GPUS} train.py\necho "${oc.env:HOME}" $MODEL\n',
        outputs="out",
        checkpoint=CheckpointSpec(
            dir="s3://corp-ckpt/llama", every="200 steps", max_loss=5400, keep=Keep(last=3, best=1, every="1000 steps")
        ),
        policy=Goal(deadline=86400, budget=40, on_demand_fallback=False),
        retry=RetrySpec(preemption=5),
        autostop=5400,
        tracking={"wandb": {"project": "ft"}, "mlflow": None, "tensorboard": True},
        notify=(Notify(url=None, on=("preempted", "done")),),
        local=LocalSpec(trace="harsh", seed=9, speed=12.5),
        not_rehearsed={"file_mounts": {"/data": "s3://bucket/${NAME}"}},
    )


def test_a_recipe_of_one_line_takes_its_name_from_its_file(recipe_at):
    assert load(recipe_at(RUN, "My_First Run.yaml")).recipe == Recipe(name="my-first-run", run="python train.py")


def test_scientific_numbers_reach_the_trainer_as_numbers(recipe_at):
    trainer = load(recipe_at("trainer: {kind: my.trainer, steps: 10, lr: 3e-4, eps: 1.0e-8, name: 1e3x}\n")).recipe.trainer
    assert trainer == {"kind": "my.trainer", "steps": 10, "lr": 3e-4, "eps": 1e-8, "name": "1e3x"}


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2027-03-01T08:00:00+01:00", datetime(2027, 3, 1, 7, tzinfo=UTC)),
        ("2027-03-01 08:00Z", datetime(2027, 3, 1, 8, tzinfo=UTC)),
        ("2027-03-01 08:00", datetime(2027, 3, 1, 8).astimezone()),
        ("2027-03-01", datetime(2027, 3, 1).astimezone()),
    ],
)
def test_a_deadline_may_be_an_instant_and_without_zone_it_is_local_time(written, instant, recipe_at):
    goal = load(recipe_at(RUN + f"policy: {{deadline: {written}}}\n")).recipe.policy
    assert goal == Goal(deadline_at=instant.timestamp())


def test_paths_are_relative_to_the_recipe_and_those_of_flags_to_the_working_directory(recipe_at, tmp_path):
    recipe_at("place,up\n", "deep/mine.csv")
    (tmp_path / "code").mkdir()
    text = RUN + "workdir: .\nlocal: {trace: mine.csv}\ncheckpoint: {dir: ck pt}\n"
    recipe = load(recipe_at(text, "deep/recipe.yaml")).recipe
    assert recipe.workdir == str(tmp_path / "deep")
    assert recipe.local.trace == str(tmp_path / "deep" / "mine.csv")
    assert recipe.checkpoint.dir == (tmp_path / "deep" / "ck pt").as_uri()
    assert load("deep/recipe.yaml", ["workdir=code"]).recipe.workdir == str(tmp_path / "code")


@pytest.mark.parametrize("url", ["s3://b/x", "gs://b", "az://c/x", "abfs://c@account/x", "file:///tmp/x"])
def test_the_stores_we_know_are_accepted(url, recipe_at):
    assert load(recipe_at(RUN + f"checkpoint: {{dir: '{url}'}}\n")).recipe.checkpoint.dir == url


# --- layers and origins ------------------------------------------------------------------------------------------------------


def test_flags_win_over_the_recipe_and_the_recipe_over_its_fragments(recipe_at):
    recipe_at("policy: {budget: 1, deadline: 1h}\nretry: {error: 7}\n", "configs/one.yaml")
    recipe_at("policy: {budget: 2, strategy: greedy}\n", "configs/two.yaml")
    recipe = load(recipe_at("defaults: [one, two]\npolicy: {deadline: 3h}\n" + RUN), ["policy.deadline=4h"]).recipe
    assert recipe.policy == Goal(budget=2, deadline=4 * 3600, strategy="greedy")
    assert recipe.retry.error == 7


def test_each_value_tells_whence_it_came(recipe_at):
    recipe_at("resources: {infra: aws, use_spot: true}\npolicy:\n  budget: 5\n", "configs/mine.yaml")
    text = "defaults: [mine]\n" + RUN + "resources:\n  accelerators: A100\n  cloud: null\nenvs: {A: x}\n"
    loaded = load(recipe_at(text), ["policy.deadline=6h"], envs={"B": "y"})
    shown = {path: (value, str(loaded.origins[path])) for path, value in leaves(loaded.recipe).items()}
    assert shown["policy.budget"] == ("5.00", "configs/mine.yaml:3")
    assert shown["resources.infra"] == ("[aws]", "configs/mine.yaml:1")
    assert shown["resources.accelerators"] == ("[A100:1]", "recipe.yaml:4")
    assert shown["policy.deadline"] == ("6h", "flag")
    assert shown["envs.A"] == ("x", "recipe.yaml:6")
    assert shown["envs.B"] == ("y", "flag")
    assert shown["checkpoint.max_loss"] == ("10m", "default")
    assert shown["policy.strategy"] == ("auto", "default")
    assert shown["retry.preemption"] == ("unlimited", "default")
    assert shown["local.speed"] == ("auto", "default")


def test_a_fragment_beside_the_recipe_wins_over_a_packaged_one(recipe_at):
    assert load(recipe_at("defaults: [clouds/all]\n" + RUN)).recipe.resources.infra == ("aws", "gcp", "azure")
    recipe_at("resources: {infra: k8s}\n", "configs/clouds/all.yaml")
    assert load("recipe.yaml").recipe.resources.infra == ("k8s",)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("40GB+", ("40GB+:1",)),
        ("nvidia:80gb:8", ("80GB:8",)),
        ("[T4, '1.5TB+:2', 24576MB]", ("T4:1", "1536GB+:2", "24GB:1")),
        ("{40GB+: 8}", ("40GB+:8",)),
        ("Auto", ("auto",)),
    ],
)
def test_gpus_may_be_named_by_their_memory(recipe_at, written: str, meant: tuple[str, ...]):
    program = "trainer: {kind: launcher.trainers.gpt, steps: 100}\n"
    recipe = load(recipe_at(program + f"resources: {{accelerators: {written}}}\n")).recipe
    assert recipe.resources.accelerators == meant
    assert parse(dump(recipe)) == recipe


def test_overrides_are_read_like_yaml_except_programs_and_variables(recipe_at):
    overrides = ["resources.accelerators=[L4, A100:8]", "policy.budget=null", "run=echo {a: b", "envs.PORT=0080", "trainer=null"]
    recipe = load(recipe_at(TRAINER + "policy: {budget: 3}\n"), overrides).recipe
    assert recipe.resources.accelerators == ("L4:1", "A100:8")
    assert recipe.policy.budget is None
    assert recipe.run == "echo {a: b"
    assert recipe.envs == {"PORT": "0080"}


def test_interpolation_reads_the_environment_and_other_keys(recipe_at, monkeypatch):
    monkeypatch.setenv("MY_BUDGET", "12.50")
    text = (
        "name: x\n"
        + RUN
        + "policy: {budget: '${oc.env:MY_BUDGET}'}\nenvs: {A: '${oc.env:NO_SUCH,7}', B: '${name}', C: '\\${x}'}\n"
    )
    recipe = load(recipe_at(text)).recipe
    assert recipe.policy.budget == 12.5
    assert recipe.envs == {"A": "7", "B": "x", "C": "${x}"}


# --- SkyPilot's task files ---------------------------------------------------------------------------------------------------

SKYPILOT = {
    "accelerators as text": ("accelerators: A100:8", Resources(accelerators=("A100:8",))),
    "accelerators without count": ("accelerators: V100", Resources(accelerators=("V100:1",))),
    "accelerators as mapping": ("accelerators: {A100: 8}", Resources(accelerators=("A100:8",))),
    "accelerators as set": ("accelerators: {A100:1, L4:2}", Resources(accelerators=("A100:1", "L4:2"))),
    "accelerators in order": ("accelerators: ['A100:1', 'V100:4']", Resources(accelerators=("A100:1", "V100:4"))),
    "gpus": ("gpus: H100:8", Resources(accelerators=("H100:8",))),
    "half a GPU": ("accelerators: 'T4:0.5'", Resources(accelerators=("T4:0.5",))),
    "infra with zone": ("infra: aws/us-east-1/us-east-1a", Resources(infra=("aws/us-east-1/us-east-1a",))),
    "a context of Kubernetes": ("infra: k8s/my-context", Resources(infra=("k8s/my-context",))),
    "any cloud's region": ("infra: '*/us-east-1'", Resources(infra=("*/us-east-1",))),
    "cloud and region": ("cloud: GCP\n  region: us-central1", Resources(infra=("gcp/us-central1",))),
    "a zone alone": ("zone: us-east-1a", Resources(infra=("*/*/us-east-1a",))),
    "spot": ("use_spot: yes", Resources(use_spot="true")),
    "no spot": ("use_spot: false", Resources(use_spot="false")),
    "disk with unit": ("disk_size: 256GB", Resources(disk_size=256)),
    "memory with unit": ("memory: 64GB+\n  cpus: 4+", Resources(memory="64GB+", cpus="4+")),
    "an image": (
        "image_id: docker:nvcr.io/nvidia/pytorch:24.01-py3",
        Resources(image_id="docker:nvcr.io/nvidia/pytorch:24.01-py3"),
    ),
    "cost": ("max_hourly_cost: 10.0", Resources(max_hourly_cost=10)),
}


@pytest.mark.parametrize("case", SKYPILOT)
def test_resources_are_accepted_in_every_spelling_of_skypilot(case, recipe_at):
    text, resources = SKYPILOT[case]
    recipe = load(recipe_at(f"resources:\n  {text}\nrun: python train.py\n")).recipe
    assert recipe.resources == resources
    assert recipe.not_rehearsed == {}


SKYPILOT_TASK = """\
# A task as SkyPilot's documentation writes it.
name: My_Task.v2

resources:
  infra: aws/us-east-1
  accelerators: H100:8
  any_of:
    - infra: aws/us-west-2
    - infra: gcp
  job_recovery: {strategy: EAGER_NEXT_REGION, max_restarts_on_errors: 3}
  autostop: {idle_minutes: 10}
  ports: [8081, 9000-9010]
  network_tier: best

num_nodes: 4
workdir: {url: "https://example.com/repo.git", ref: main}

envs:
  DEBUG: 1
  BUCKET: null
secrets:
  HF_TOKEN: null

file_mounts:
  /remote/path: /local/path
  /ckpt: {name: "bucket-${USER}", store: s3, mode: MOUNT_CACHED}
volumes: {/mnt/data: volume-name}
service: {readiness_probe: /v1/models, replicas: 2}
event_callback: echo ${JOB_STATUS}
config: {kubernetes: {provision_timeout: 600}}
experimental: {config_overrides: {}}

setup: |
  echo "Begin ${DEBUG}"
run: |
  echo "rank ${SKYPILOT_NODE_RANK}" ; python train.py
"""


def test_a_task_file_of_skypilot_is_accepted_as_it_is_and_what_only_it_can_do_is_kept(recipe_at):
    recipe = load(recipe_at(SKYPILOT_TASK, "sky.yaml"), envs={"BUCKET": "b"}).recipe
    assert recipe.name == "my-task-v2"
    assert recipe.envs == {"DEBUG": "1", "BUCKET": "b"}
    assert recipe.secrets == ("HF_TOKEN",)
    assert recipe.run == 'echo "rank ${SKYPILOT_NODE_RANK}" ; python train.py\n'
    assert recipe.not_rehearsed["resources.any_of"] == [{"infra": "aws/us-west-2"}, {"infra": "gcp"}]
    assert recipe.not_rehearsed["workdir"] == {"url": "https://example.com/repo.git", "ref": "main"}
    assert recipe.not_rehearsed["file_mounts"]["/ckpt"]["name"] == "bucket-${USER}"
    assert set(recipe.not_rehearsed) == {
        *("resources.any_of", "resources.job_recovery", "resources.autostop", "resources.ports", "resources.network_tier"),
        *("workdir", "file_mounts", "volumes", "service", "event_callback", "config", "experimental"),
    }
    assert parse(dump(recipe)) == recipe


def test_a_flag_moves_a_task_that_names_its_cloud_the_old_way(recipe_at):
    name = recipe_at(RUN + "resources: {cloud: aws, accelerators: {A100: 8}}\n")
    resources = load(name, ["resources.infra=local", "resources.accelerators=L4"]).recipe.resources
    assert resources == Resources(infra=("local",), accelerators=("L4:1",))


# --- through text and back ---------------------------------------------------------------------------------------------------


def test_a_dumped_recipe_is_read_back_equal(recipe_at):
    for name in [recipe_at(WHOLE_RECIPE), *[name for name, _ in packaged()]]:
        recipe = load(name).recipe
        assert parse(dump(recipe)) == recipe


def test_a_dumped_recipe_does_not_ask_the_environment_again(recipe_at, monkeypatch):
    monkeypatch.setenv("TOKEN_FILE", "${HOME}/x")
    recipe = load(recipe_at(RUN + "envs: {A: '${oc.env:TOKEN_FILE}'}\nnotify: {url: '${oc.env:TOKEN_FILE}'}\n")).recipe
    monkeypatch.delenv("TOKEN_FILE")
    assert recipe.envs == {"A": "${HOME}/x"}
    assert parse(dump(recipe)) == recipe


PRINTABLE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=30).filter(lambda text: text != "???")
LITERALS = st.one_of(
    PRINTABLE, st.sampled_from(["${x}", r"\${", r"\\${y}", "a\\", "on", "1e3", "1:30", "~", "null", "007", "# x", "- a", "a: b"])
)
ARGUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), LITERALS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=6,
)
MONEY = st.none() | st.floats(min_value=1e-6, max_value=1e9)
TIME = st.floats(min_value=1e-3, max_value=1e9)


@settings(max_examples=30, deadline=None)
@given(
    env=LITERALS,
    command=LITERALS.filter(str.strip),
    argument=ARGUMENTS,
    budget=MONEY,
    seconds=TIME,
    at=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),
    preemption=st.none() | st.integers(0, 99),
    speed=st.none() | st.floats(min_value=1.0, max_value=1e6),
)
def test_any_recipe_survives_being_dumped_and_read(env, command, argument, budget, seconds, at, preemption, speed):
    common = {
        "envs": {"A": env},
        "policy": Goal(budget=budget, deadline_at=at.timestamp()),
        "retry": RetrySpec(preemption=preemption, capacity=seconds),
        "local": LocalSpec(speed=speed),
        "tracking": {"wandb": argument},
        "not_rehearsed": {"resources.ports": argument, "service": argument} if argument is not None else {},
    }
    for recipe in (
        Recipe(name="x", run=command, **common),
        Recipe(name="x", trainer={"kind": "my.trainer", "extra": argument}, **common),
    ):
        assert parse(dump(recipe)) == recipe


@given(st.floats(min_value=0, max_value=1e12))
def test_a_duration_is_written_exactly(seconds):
    assert math.isclose(parse_duration(write_duration(seconds)), seconds, rel_tol=1e-15)


# --- changes on resume -------------------------------------------------------------------------------------------------------

FROZEN = Recipe(
    name="x",
    trainer={"kind": "my.trainer", "steps": 10, "lr": 0.1},
    envs={"A": "1"},
    checkpoint=CheckpointSpec(dir="s3://b/x"),
    policy=Goal(budget=1, deadline_at=1.9e9),
)


def test_money_time_places_and_patience_change_freely_and_are_told():
    overrides = [
        "policy.budget=5",
        "policy.deadline=6h",
        "resources.infra=[aws]",
        "retry.error=9",
        "autostop=1h",
        "checkpoint.every=5m",
    ]
    changed, told = change(FROZEN, [*overrides, "notify=[{url: u, on: [done]}]"])
    assert changed.policy == Goal(budget=5, deadline=6 * 3600)
    assert told == {
        "policy.budget": "5.00",
        "policy.deadline": "6h",
        "resources.infra": "[aws]",
        "retry.error": "9",
        "autostop": "1h",
        "checkpoint.every": "5m",
        "notify": "[{url: u, on: [done]}]",
    }
    assert changed.trainer == FROZEN.trainer


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("trainer.lr=0.2", "trainer.lr"),
        ("trainer.new=1", "trainer.new"),
        ("envs.A=2", "envs.A"),
        ("envs.B=2", "envs.B"),
        ("num_nodes=2", "num_nodes"),
        ("setup=true", "setup"),
        ("data.train=s3://b/y", "data.train"),
        ("file_mounts={/a: b}", "file_mounts./a"),
    ],
)
def test_what_changes_the_mathematics_needs_to_be_named(override, key):
    with pytest.raises(RecipeError) as refused:
        change(FROZEN, [override])
    assert f"--allow-change {key}" in str(refused.value)
    assert key in change(FROZEN, [override], [key])[1]
    assert key in change(FROZEN, [override], [key.partition(".")[0]])[1]


@pytest.mark.parametrize("override", ["name=y", "checkpoint.dir=s3://b/y", "local.seed=8", "local.trace=calm", "local.speed=20"])
def test_what_makes_a_run_this_run_never_changes(override):
    key = override.partition("=")[0]
    with pytest.raises(RecipeError, match="cannot change within a run"):
        change(FROZEN, [override], [key])


def test_an_override_that_changes_nothing_is_no_change():
    assert change(FROZEN, ["trainer.lr=0.1", "name=x", "policy.budget=1.00"]) == (FROZEN, {})


def test_no_override_leaves_the_recipe_as_it_is():
    assert change(FROZEN, []) == (FROZEN, {})


# --- packaged recipes --------------------------------------------------------------------------------------------------------


def test_every_packaged_recipe_is_listed_with_what_it_is_for_and_runs_here():
    listed = dict(packaged())
    assert set(listed) >= {"quickstart", "tiny", "resume-drill", "any-program"}
    assert all(len(summary) > 20 for summary in listed.values())
    assert all(load(name).recipe.is_local for name in listed)


def test_a_packaged_recipe_is_the_same_by_name_and_by_path(monkeypatch):
    path = load("any-program").path
    assert load(str(path)).recipe == load("any-program").recipe
    assert Path(str(load("any-program").recipe.workdir), "any_program.py").is_file()


def test_every_packaged_fragment_can_be_named_by_a_recipe(recipe_at):
    root = load("any-program").path.parents[1] / "configs"
    names = [path.relative_to(root).with_suffix("").as_posix() for path in sorted(root.rglob("*.yaml"))]
    assert {"clouds/all", "checkpoint/frequent", "policy/deadline", "policy/cheapest"} <= set(names)
    for name in names:
        load(recipe_at(f"defaults: {name}\n" + RUN))
