"""What the machine of an attempt is told: AttemptSpec from the state, so that a restarted supervisor tells it the same."""

from launcher.codec import Json
from launcher.core.checkpoint.rules import keep_rule, save_rule
from launcher.core.contract import AttemptSpec, CommandProgram, TrainerProgram
from launcher.core.market.belief import gang_life
from launcher.core.recipe import Recipe
from launcher.core.run.keeping import keep_failed
from launcher.core.run.state import Attempt, RunState
from launcher.core.tempo import HANG_MIN_S, KILL_GRACE_S, Tempo


def attempt_spec(state: RunState, attempt: Attempt, store_url: str) -> AttemptSpec:
    recipe, tempo = state.recipe, Tempo(state.speed)
    return AttemptSpec(
        run=state.run,
        incarnation=state.incarnation,
        attempt=attempt.number,
        store=store_url,
        placement=attempt.offer.placement,
        num_nodes=recipe.num_nodes,
        program=program(recipe),
        envs=recipe.envs,
        secrets=recipe.secrets,
        code=state.code,
        outputs=recipe.outputs,
        data=recipe.data,
        save=save_rule(recipe.checkpoint, gang_life(attempt.offer.mean_life, recipe.num_nodes)),
        keep=keep_rule(recipe.checkpoint.keep),
        price_cap=attempt.offer.price_cap,
        stop_at=attempt.stop_at,
        autostop=max(recipe.autostop, tempo.autostop_floor),
        grant_wait=tempo.grant_wait,
        speed=state.speed,
        hang_min_real=HANG_MIN_S,
        kill_grace_real=KILL_GRACE_S,
        failed_saves_max=max(1, recipe.retry.error),
        keep_failed=keep_failed(state),
        skypilot=_skypilot(recipe),
    )


def _skypilot(recipe: Recipe) -> dict[str, Json]:
    """SkyPilot's own keys, and those of ours that are its business alone."""
    wants = recipe.resources
    ours: dict[str, Json] = {
        "disk_size": wants.disk_size,
        "image_id": wants.image_id,
        "labels": dict(wants.labels),
        "cpus": wants.cpus,
        "memory": wants.memory,
    }
    asked = {f"resources.{key}": value for key, value in ours.items() if value}
    return {} if recipe.is_local else recipe.not_rehearsed | asked


def program(recipe: Recipe) -> CommandProgram | TrainerProgram:
    if recipe.trainer is not None:
        args = {name: value for name, value in recipe.trainer.items() if name != "kind"}
        return TrainerProgram(module=str(recipe.trainer["kind"]), args=args)
    assert recipe.run is not None, "exactly one of run and trainer"
    return CommandProgram(setup=recipe.setup, command=recipe.run)
