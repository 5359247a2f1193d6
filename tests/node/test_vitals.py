"""The warning that nothing is published: when it is due, and that it stays the same."""

from dataclasses import replace

from launcher.core.contract import EMPTY_FOLDER, NO_SAVE, AttemptSpec, CommandProgram, SaveRule, TrainerProgress
from launcher.node.vitals import Vitals
from tests.node.rig import PLACEMENT

SPEC = AttemptSpec(
    run="r", incarnation="i1", attempt=3, store="memory://", placement=PLACEMENT, program=CommandProgram(setup=None, command="x")
)
ENDED_AT = 1_000_000.0


def warnings_after(
    real_s: float, obstacle: str = "w changed", spec: AttemptSpec = SPEC, *, speed: float = 300.0
) -> tuple[str, ...]:
    return vitals(real_s, obstacle, replace(spec, speed=speed)).compose(1).warnings


def vitals(real_s: float, obstacle: str, spec: AttemptSpec) -> Vitals:
    """Of a program that has trained for so long: until its end, since that is an instant which stands."""
    trained = TrainerProgress(first_step_mono=ENDED_AT - real_s)
    return Vitals(spec=spec, nonce="n", utc=lambda: 0.0, ended_at=ENDED_AT, progress=trained, obstacle=obstacle)


def test_ten_minutes_without_a_published_file_are_told_with_the_file_in_the_way() -> None:
    assert warnings_after(590, speed=1) == ()
    [warning] = warnings_after(610, speed=1)
    assert warning.startswith("no file published yet: w changed; ")


def test_a_rehearsal_waits_for_a_few_looks_whatever_its_speed() -> None:
    assert warnings_after(7) == ()
    assert len(warnings_after(9)) == 1


def test_the_first_attempts_may_take_their_time_to_write_anything() -> None:
    second = replace(SPEC, attempt=2)
    assert warnings_after(29, EMPTY_FOLDER, second) == ()
    assert EMPTY_FOLDER in warnings_after(31, EMPTY_FOLDER, second)[0]
    assert EMPTY_FOLDER in warnings_after(9, EMPTY_FOLDER)[0], "the attempts before this one have left nothing either"


def test_a_program_in_whose_way_nothing_is_known_to_be_has_time() -> None:
    assert warnings_after(29, "") == ()
    assert "none was whole" in warnings_after(31, "")[0]


def test_a_warning_that_repeats_a_library_holds_none_of_its_secrets() -> None:
    told = vitals(0, "", SPEC)
    told.progress = replace(told.progress, warnings=("a save failed: Authorization: Bearer hunter2",))
    assert told.compose(1).warnings == ("a save failed: Authorization: ***",)


def test_never_silences_it() -> None:
    assert warnings_after(1000, spec=replace(SPEC, save=SaveRule(never=True))) == ()


def test_it_stays_the_same_when_another_file_is_in_the_way() -> None:
    told = vitals(9, "a changed", replace(SPEC, speed=300.0))
    first = told.compose(1).warnings
    told.obstacle = "b changed"
    assert told.compose(2).warnings == first


def stalled(real_s: float, obstacle: str = "w.tmp open for writing") -> Vitals:
    """Its second commit was seen when it began to train."""
    told = vitals(0, obstacle, replace(SPEC, speed=300.0))
    told.progress = replace(told.progress, last_commit=2, step=2)
    assert told.compose(1).warnings == ()
    told.progress = replace(told.progress, first_step_mono=ENDED_AT - real_s)
    return told


def test_files_that_change_for_long_after_a_commit_and_are_never_whole_are_told_too() -> None:
    assert stalled(29).compose(2).warnings == ()
    [warning] = stalled(31).compose(2).warnings
    assert warning.startswith("nothing published after commit 2: w.tmp open for writing; ")
    assert "temporary files included" in warning


def test_a_program_that_writes_nothing_more_and_one_that_publishes_again_are_not_warned_of() -> None:
    assert stalled(1000, "").compose(2).warnings == ()
    told = stalled(31)
    assert len(told.compose(2).warnings) == 1
    told.progress = replace(told.progress, last_commit=3, step=3)
    assert told.compose(3).warnings == ()


def test_an_empty_folder_in_a_rehearsal_may_be_the_speeds_fault_and_one_that_is_written_into_is_not() -> None:
    assert "local.speed" in warnings_after(31, EMPTY_FOLDER)[0]
    assert "local.speed" not in warnings_after(31, "w changed")[0]
    assert "local.speed" not in warnings_after(700, EMPTY_FOLDER, speed=1)[0]


def test_a_program_that_saves_with_launcher_train_is_not_sent_to_a_folder_it_does_not_use() -> None:
    told = vitals(31, "", replace(SPEC, speed=300.0))
    told.progress = replace(told.progress, total_steps=1000, step=118)
    [warning] = told.compose(1).warnings
    assert warning.startswith(f"no file published yet: {NO_SAVE}; ")
    assert "checkpoint.every" in warning
    assert "$LAUNCH_CHECKPOINT_DIR" not in warning
