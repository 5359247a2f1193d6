"""Does the model fit? Models against GPUs, with the arithmetic."""

from dataclasses import replace

import pytest

from launcher.core.market.chips import CHIPS
from launcher.core.market.offer import Capacity, Offer, Placement
from launcher.core.plan.limits import accelerators_needed, accepted, faults, nearest_miss
from launcher.core.plan.sizing import GptShape, count_for, gpt_footprint, gpt_parameters, size_lines, too_small
from launcher.core.plan.work import work_of
from launcher.core.recipe import Recipe, Resources

SMALL = {"layers": 12, "width": 768, "heads": 12, "context": 1024}  # GPT-2's smallest, on bytes
LARGE = {"layers": 24, "width": 2048, "heads": 16, "context": 1024}


def recipe(accelerators: tuple[str, ...] = ("auto",), **trainer: object) -> Recipe:
    program = {"kind": "launcher.trainers.gpt", "steps": 100, **trainer}
    return Recipe(name="r", trainer=program, resources=Resources(accelerators=accelerators, infra=("aws",)))  # type: ignore[arg-type]


def offer(gpu: str, count: int = 1) -> Offer:
    placement = Placement(
        cloud="aws",
        region="us-east-1",
        zone=None,
        instance=f"{gpu}-{count}",
        accelerator=gpu,
        accelerators=count,
        capacity=Capacity.SPOT,
    )
    return Offer(
        placement=placement, price=1.0, on_demand_price=3.0, price_cap=1.0, mean_life=3600.0, notice_lead=120.0, source="list"
    )


def test_parameters_by_hand() -> None:
    """12 * 768² + 13 * 768 = 7,087,872 a block, twelve of them 85,054,464; the last norm 2 * 768 = 1,536; bytes and positions
    (256 + 1024) * 768 = 983,040."""
    assert gpt_parameters(GptShape(**SMALL)) == 85_054_464 + 1_536 + 983_040


def test_what_training_holds_by_hand() -> None:
    """Batch 16: 16,384 tokens of 768 numbers, 12,582,912 in all. A block keeps 66 bytes of each, and 4 for each of 12 heads and
    token: 830,472,192 + 786,432. Twelve blocks 9,975,103,488; norm and its output 8 * 12,582,912; logits 3 * 4 * 16,384 * 256.
    Where blocks are computed anew each keeps 4 bytes of each number, and one at a time all."""
    shape = GptShape(**SMALL, batch_size=16)
    whole, anew = gpt_footprint(shape), gpt_footprint(shape, recomputes=True)
    tail = 8 * 12_582_912 + 12 * 16_384 * 256
    assert whole.activations == 12 * (830_472_192 + 786_432) + tail
    assert anew.activations == 12 * 4 * 12_582_912 + 830_472_192 + 786_432 + tail
    assert (whole.weights, whole.gradients, whole.optimizer) == (4 * 86_039_040, 4 * 86_039_040, 8 * 86_039_040)


FITS = [
    ({}, "T4", True),
    ({**SMALL, "batch_size": 16}, "T4", True),
    ({**SMALL, "batch_size": 32}, "T4", False),
    ({**SMALL, "batch_size": 32}, "A10G", False),
    ({**SMALL, "batch_size": 32}, "V100-32GB", True),
    ({**LARGE, "batch_size": 4}, "V100-32GB", False),
    ({**LARGE, "batch_size": 4}, "A100", True),
    ({**LARGE, "batch_size": 8}, "A100", False),
    ({**LARGE, "batch_size": 8}, "A100-80GB", True),
    ({**LARGE, "batch_size": 64}, "B200", False),
]


@pytest.mark.parametrize(("trainer", "gpu", "fits"), FITS)
def test_models_on_gpus(trainer: dict[str, object], gpu: str, fits: bool) -> None:
    """Tensors by a tenth more, 1.3 for CUDA's kernels, by 16/15 for ECC, in GiB; the state is 16 bytes a parameter:

    default          0.004 state + 0.016 activations                   1.4   T4 has 16
    SMALL, batch 16  86,039,040 parameters: 1.28 + 9.43 = 10.71       14.0
    SMALL, batch 32  1.28 + 18.86 = 20.14                             25.0   A10G has 24, V100-32GB 32
    LARGE, batch 4   1,211,224,064 parameters: 18.05 + 12.46 = 30.51  37.2   A100 has 40
    LARGE, batch 8   18.05 + 24.92 = 42.97                            51.8   A100-80GB has 80
    LARGE, batch 64  18.05 + 199.3 = 217.4                           256.4   B200 has 180
    """
    assert (too_small(recipe(**trainer), gpu) is None) == fits
    (found,) = [faults(recipe(**trainer), offer(gpu))]
    assert (found == ()) == fits


def test_the_optimizer_needs_room_where_activations_are_few() -> None:
    """One token: backward keeps next to nothing, and the step after it takes 4 bytes a parameter: 20 in all."""
    tiny = gpt_footprint(GptShape(**{**LARGE, "context": 1}, batch_size=1))
    assert tiny.tensors == 20 * tiny.parameters


def test_a_gpu_too_small_is_refused_with_figures() -> None:
    (fault,) = faults(recipe(**LARGE, batch_size=4), offer("T4"))
    assert fault == "training needs 38 GB of GPU memory (18.0 of state, 12.5 of activations), and T4 has 16"
    named = recipe(("T4:8",), **LARGE, batch_size=4)
    assert "and T4 has 16" in str(nearest_miss(named, (offer("T4", 8),))), "of eight GPUs the trainer uses one"


def test_a_gpu_that_would_do_with_recomputing_is_told_so() -> None:
    """Batch 32: 1.28 of state, and of activations 2.95 instead of 18.86: (4.24 * 1.1 + 1.3) * 16/15 = 6.4."""
    (fault,) = faults(recipe(**SMALL, batch_size=32), offer("T4"))
    assert fault.endswith("and T4 has 16 (with trainer.recompute=true it needs 7)")
    assert faults(recipe(**SMALL, batch_size=32, recompute=True), offer("T4")) == ()
    assert size_lines(recipe(**SMALL, batch_size=32), ["T4"])[-1].startswith("with trainer.recompute=true, a third more work")
    assert work_of(recipe(**SMALL, recompute=True)).flops == pytest.approx(4 / 3 * work_of(recipe(**SMALL)).flops)


def test_what_the_recipe_says_of_memory_wins() -> None:
    """Counted are 38 GB."""
    assert faults(recipe(("16GB+:1",), **LARGE, batch_size=4), offer("T4")) == ()
    assert faults(recipe(("T4:1", "40GB+:1"), **LARGE, batch_size=4), offer("T4")) == ()
    assert faults(recipe(("T4:1",), **LARGE, batch_size=4), offer("T4")) != ()


def test_nothing_is_said_of_a_program_nobody_can_count() -> None:
    program = Recipe(name="r", run="python train.py", resources=Resources(accelerators=("T4:1",), infra=("aws",)))
    assert faults(program, offer("T4")) == ()
    assert size_lines(program, ["T4"]) == []


def test_auto_takes_any_gpu_that_is_large_enough() -> None:
    """LARGE with batch 4 needs 38 GB."""
    offers = tuple(offer(gpu) for gpu in CHIPS)
    taken = {o.placement.accelerator for o in accepted(recipe(**LARGE, batch_size=4), offers)}
    assert taken == {gpu for gpu, chip in CHIPS.items() if chip.memory_gib >= 38}
    assert accelerators_needed(recipe(), offer("H100", 8).placement) == 1
    assert faults(recipe(), offer("K80")) == ("it has K80:1, not a GPU whose memory is known",)


def test_of_several_wishes_for_a_gpu_any_will_do_and_a_machine_is_used_as_far_as_one_goes():
    program = replace(recipe(), trainer=None, run="x", resources=Resources(accelerators=("A100:8", "A100:1")))
    assert [accelerators_needed(program, offer("A100", count).placement) for count in (1, 4, 8, 16)] == [1, 1, 8, 8]
    assert faults(program, offer("A100", 1)) == ()


def test_lines_say_what_is_needed_and_who_is_too_small() -> None:
    assert size_lines(recipe(**LARGE, batch_size=4), ["T4", "A100", "T4", "A10G", "K80"]) == [
        "training needs 38 GB of GPU memory (18.0 of state, 12.5 of activations)",
        "too small for it: A10G (24 GB), T4 (16 GB)",
    ]
    assert len(size_lines(recipe(), ["T4"])) == 1


@pytest.mark.parametrize(
    ("wish", "gpu", "count"),
    [
        ("A100:8", "A100", 8),
        ("a100", "A100", 1),
        ("A100", "A100-80GB", None),
        ("auto", "T4", 1),
        ("auto", "K80", None),
        ("40GB+:1", "A100", 1),
        ("40GB+:8", "H100", 8),
        ("40GB+:1", "T4", None),
        ("40GB:1", "A100-80GB", None),
        ("80GB:1", "A100-80GB", 1),
        ("16GB+:1", "K80", None),
        ("A10:0.5", "A10", None),
    ],
)
def test_what_an_entry_asks_for(wish: str, gpu: str, count: int | None) -> None:
    assert count_for(wish, gpu) == count


def test_memory_that_is_asked_for_is_shown() -> None:
    program = Recipe(name="r", run="python train.py", resources=Resources(accelerators=("40GB+:1",), infra=("aws",)))
    assert faults(program, offer("T4")) == ("it has T4:1 (16 GB), not 40GB+:1",)
    assert faults(program, offer("A100")) == ()
    assert faults(replace(program, resources=replace(program.resources, accelerators=("T4:1",))), offer("L4")) == (
        "it has L4:1, not T4:1",
    )


def test_the_nearest_miss_is_a_gpu_that_would_do_before_one_that_would_not() -> None:
    """38 GB: T4 is what the recipe names and too small, A100 is not named and large enough."""
    named = recipe(("T4:1",), **LARGE, batch_size=4)
    found = nearest_miss(named, (offer("T4"), offer("A100"), offer("L4")))
    assert found is not None
    assert (found.offer.placement.accelerator, found.concession) == ("A100", "allow A100:1 in resources.accelerators")
    found = nearest_miss(named, (offer("T4"),))
    assert found is not None
    assert found.concession == "write resources.accelerators=auto"


def test_where_no_gpu_is_large_enough_the_largest_is_the_nearest_miss() -> None:
    """257 GB; no place is promised for a price, since the training must become another."""
    huge = recipe(**LARGE, batch_size=64)
    found = nearest_miss(huge, tuple(offer(gpu) for gpu in CHIPS))
    assert found is not None
    assert (found.offer.placement.accelerator, found.concession) == ("B200", "make the training smaller")
    assert "B200 has 180 (with trainer.recompute=true it needs 48)" in str(found)
