"""`scripts/mutants` in small: a deliberate bug is noticed by the checker named for it, and the product as it is by none."""

from dataclasses import replace

import pytest

from launcher.core.run import spent
from launcher.sim.checkers.base import CHECKERS
from launcher.sim.faults import Fault
from launcher.sim.soak import silence
from scripts.mutations import __main__ as script
from scripts.mutations.__main__ import killed_by
from scripts.mutations.hunt import Catch, hunt, objections
from scripts.mutations.mutant import Mutant, Swap
from scripts.mutations.roll import MUTANTS

QUICK = ("bill twice", "skip the claim", "read no requests", "believe a failed poll")


def named(name: str) -> Mutant:
    return next(mutant for mutant in MUTANTS if mutant.name == name)


@pytest.mark.parametrize("name", QUICK)
def test_a_deliberate_bug_is_noticed_by_the_checker_named_for_it(name):
    with silence():
        catch = hunt(named(name))
    assert catch.seed is not None


@pytest.mark.parametrize("name", QUICK)
def test_the_same_worlds_without_the_bug_give_no_cause_for_objection(name):
    with silence():
        assert objections(0, named(name)) == set()


def test_a_change_that_changes_nothing_survives():
    idle = Swap(spent, "_billed", lambda billed: lambda state: billed(state))
    mutant = Mutant(name="idle", breaks="Nothing.", killer="bill", swaps=(idle,), only=frozenset({Fault.DIES}), seeds_most=3)
    with silence():
        catch = hunt(mutant)
    assert (catch.seed, catch.num_worlds, catch.others) == (None, 3, ())


def test_a_bug_is_gone_when_its_worlds_are_played():
    swap = named("bill twice").swaps[0]
    right = getattr(swap.owner, swap.name)
    with named("bill twice").at_work():
        assert getattr(swap.owner, swap.name) is not right
    assert getattr(swap.owner, swap.name) is right


def test_worlds_that_cannot_show_a_bug_are_passed_over_and_not_counted():
    with silence():
        catch = hunt(replace(named("bill twice"), fits=lambda world: world.seed == 3))
    assert (catch.seed, catch.num_worlds) == (3, 1)


def test_who_is_named_for_a_survivor_has_killed_nothing():
    survivor = Catch(mutant="bill twice", killer="bill", seed=None, others=("ends",), num_worlds=60, cpu=1.0)
    assert killed_by("bill", [survivor]) == []
    assert killed_by("ends", [survivor]) == []


def test_every_checker_is_named_for_a_mutant_and_every_mutant_for_a_checker():
    assert {mutant.killer for mutant in MUTANTS} == set(CHECKERS)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 21


@pytest.mark.parametrize(("seed", "code"), [(0, 0), (None, 1)])
def test_the_script_fails_where_a_mutant_survives(seed, code, monkeypatch, capsys):
    catch = Catch(mutant="bill twice", killer="bill", seed=seed, others=(), num_worlds=1, cpu=0.1)
    monkeypatch.setattr(script, "hunt_all", lambda mutants, num_processes: iter([catch]))
    monkeypatch.setattr("sys.argv", ["scripts/mutants", "--only", "bill twice"])
    assert script.main() == code
    assert ("SURVIVED" in capsys.readouterr().out) == bool(code)


def test_the_script_fails_where_a_checker_has_noticed_nothing(monkeypatch, capsys):
    dull = [
        Catch(mutant=m.name, killer=m.killer, seed=None if m.killer == "bill" else 0, others=(), num_worlds=1, cpu=0.1)
        for m in MUTANTS
    ]
    monkeypatch.setattr(script, "hunt_all", lambda mutants, num_processes: iter(dull))
    monkeypatch.setattr("sys.argv", ["scripts/mutants"])
    assert script.main() == 1
    assert "1 of" in capsys.readouterr().out.splitlines()[-1]
