"""The packaged recipes, and what a recipe comes to, value by value."""

import pytest

from launcher.adapters import recipe_file
from tests.cli.past import document, launch


def test_ls_lists_every_packaged_recipe_with_what_it_is(capsys: pytest.CaptureFixture[str]):
    told = {row["name"]: row["summary"] for row in document(capsys, "recipes", "ls")["recipes"]}
    assert {"quickstart", "tiny", "resume-drill", "any-program"} <= set(told)
    assert all(told.values())


def test_show_prints_the_file_as_it_is(capsys: pytest.CaptureFixture[str]):
    assert launch("recipes", "show", "tiny") == 0
    assert capsys.readouterr().out.rstrip("\n") == recipe_file.load("tiny").text.rstrip("\n")


def test_show_names_the_program_and_how_to_get_it_and_a_document_has_it(capsys: pytest.CaptureFixture[str]):
    assert launch("recipes", "show", "any-program") == 0
    told = capsys.readouterr()
    assert told.out.rstrip("\n") == recipe_file.load("any-program").text.rstrip("\n"), "as it is, to be redirected into a file"
    assert "any_program.py; `launch recipes cp any-program FOLDER/`" in told.err
    assert "torch.save" in document(capsys, "recipes", "show", "any-program")["files"]["any_program.py"]


@pytest.mark.parametrize("name", [name for name, _ in recipe_file.packaged()])
def test_every_packaged_recipe_is_valid_and_says_so_in_one_line(name: str, capsys: pytest.CaptureFixture[str]):
    assert launch("recipes", "validate", name) == 0
    assert capsys.readouterr().out.startswith(f"ok: {name}")


def test_a_bad_recipe_ends_in_one_line_with_exit_2(recipe_at, capsys: pytest.CaptureFixture[str]):
    assert launch("recipes", "validate", recipe_at("name: x\nrunn: python a.py\n", "bad.yaml")) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "bad.yaml:2" in said.err
    assert "Traceback" not in said.err


def test_cp_takes_the_scripts_along_and_the_copy_is_valid(recipe_at, tmp_path, capsys: pytest.CaptureFixture[str]):
    recipe_at("", "elsewhere")
    assert launch("recipes", "cp", "any-program", "mine/") == 0
    assert capsys.readouterr().out.splitlines() == ["mine/any-program.yaml", "mine/any_program.py"]
    assert launch("recipes", "validate", "mine/any-program.yaml") == 0
    assert (tmp_path / "mine" / "any_program.py").is_file()


def test_cp_overwrites_nothing_and_writes_nothing_then(recipe_at, tmp_path, capsys: pytest.CaptureFixture[str]):
    recipe_at("mine", "any_program.py")
    assert launch("recipes", "cp", "any-program") == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["any_program.py"]


def test_cp_into_a_place_that_cannot_be_written_is_a_usage_error(recipe_at, capsys: pytest.CaptureFixture[str]):
    recipe_at("a file", "taken")
    assert launch("recipes", "cp", "tiny", "taken/below/tiny.yaml") == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["checkpoint: {dir: 's3://b/x?sig=1'}", "resources: {infra: local, accelerators: H900}", "num_nodes: 2"]
)
def test_validate_refuses_what_plan_refuses(line: str, recipe_at, capsys: pytest.CaptureFixture[str]):
    name = recipe_at(f"run: echo a\n{line}\n")
    assert (launch("recipes", "validate", name), launch("plan", name)) == (2, 2)
    validated, planned = capsys.readouterr().err.splitlines()
    assert validated == planned


@pytest.mark.parametrize(
    ("line", "exit_code", "said"),
    [
        ("resources: {infra: aws}", 5, "resources.infra=local"),
        ("resources: {max_hourly_cost: 0.01}", 3, "the nearest is"),
        ("secrets: [NO_SUCH_TOKEN]", 2, "export NO_SUCH_TOKEN="),
    ],
)
def test_a_recipe_that_train_refuses_for_no_fault_of_its_own_is_valid_and_the_verdict_says_so(
    line: str, exit_code: int, said: str, recipe_at, capsys: pytest.CaptureFixture[str]
):
    name = recipe_at(f"run: echo a\n{line}\n")
    told = document(capsys, "recipes", "validate", name)
    assert (told["valid"], told["runs_here"]) == (True, False)
    assert said in told["notes"][0]
    assert launch("recipes", "validate", name) == 0
    assert capsys.readouterr().out.startswith(f"valid, but `launch train` ends with {exit_code}: {name}")
    assert launch("train", name) == exit_code


@pytest.mark.parametrize("command", [["recipes", "validate"], ["plan"]])
def test_a_program_that_stays_at_home_is_noted(command: list[str], recipe_at, capsys: pytest.CaptureFixture[str]):
    note = "note: run names train.py, and without a workdir it starts in an empty folder; `workdir: .` takes"
    assert launch(*command, recipe_at("run: python train.py --lr 1\n")) == 0
    assert note in capsys.readouterr().out
    for text in (
        "run: python train.py\nworkdir: .\n",
        "run: python /opt/train.py\n",
        "run: python train.py\nsetup: git clone x\n",
    ):
        assert launch(*command, recipe_at(text)) == 0
        assert "workdir" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["plan", "train"])
def test_a_secret_without_a_value_is_refused_before_anything_starts(
    command: str, recipe_at, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    name = recipe_at("run: echo a\nsecrets: [NO_SUCH_TOKEN]\n")
    assert launch(command, name, "--dry-run") == 2
    assert "export NO_SUCH_TOKEN=" in capsys.readouterr().err
    monkeypatch.setenv("NO_SUCH_TOKEN", "x")
    assert launch(command, name, "--dry-run") == 0


@pytest.mark.parametrize("words", [["show"], ["cp"], ["validate"], ["ls", "tiny"], ["show", "tiny", "more"], ["show", "tinny"]])
def test_wrong_words_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert launch("recipes", *words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- config --------------------------------------------------------------------------------------------------------------------


def test_config_shows_every_value_with_its_unit_and_whence_it_came(recipe_at, capsys: pytest.CaptureFixture[str]):
    name = recipe_at("name: x\nrun: python a.py\npolicy: {deadline: 90m}\n")
    told = {row["key"]: row for row in document(capsys, "config", "show", name, "policy.budget=5", "-e", "A=1")["values"]}
    assert told["policy.deadline"] == {"key": "policy.deadline", "value": "1h30m", "source": "recipe", "place": "recipe.yaml:3"}
    assert (told["policy.budget"]["value"], told["policy.budget"]["source"]) == (5.0, "flag")
    assert (told["checkpoint.max_loss"]["value"], told["checkpoint.max_loss"]["source"]) == ("10m", "default")
    assert told["envs.A"]["value"] == "1"
    assert (told["policy.on_demand_fallback"]["value"], told["policy.deadline"]["value"]) == (True, "1h30m")
    assert (told["resources.infra"]["value"], told["trainer"]["value"], told["num_nodes"]["value"]) == ([], None, 1)
    assert set(told) == set(recipe_file.leaves(recipe_file.load(name, ["policy.budget=5"], {"A": "1"}).recipe))


def test_config_shows_a_script_of_several_lines_in_one(recipe_at, capsys: pytest.CaptureFixture[str]):
    assert launch("config", "show", recipe_at("name: x\nrun: |\n  echo a\n  echo b\n")) == 0
    assert "echo a ⏎ echo b" in capsys.readouterr().out


def test_config_says_what_an_unset_key_comes_to(recipe_at, capsys: pytest.CaptureFixture[str]):
    assert launch("config", "show", recipe_at("run: echo a\n")) == 0
    said = capsys.readouterr().out
    assert "none (any A100)" in said
    assert "none (in the home)" in said


def test_a_bad_trace_is_refused_with_each_name_once(recipe_at, capsys: pytest.CaptureFixture[str]):
    assert launch("config", "show", recipe_at("run: echo a\n"), "local.trace=zzz") == 2
    assert capsys.readouterr().err.count("lively") == 1


def test_config_of_a_bad_override_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert launch("config", "show", "quickstart", "policy.budgett=5") == 2
    assert "policy.budget" in capsys.readouterr().err
