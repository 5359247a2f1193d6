"""Bringing a run into the world, so that a crash at any instruction leaves either no run or one that `resume` completes.

A run is born when its `run.json` is created: before that instant there is only debris under its name, which the next run of that
name may take over; after it everything that is still missing can be made again, and each step looks whether it was done.

    recipe.yaml, code/  ->  index  ->  run.json (create-only)  ->  journal: SupervisorStarted, RunCreated
        ->  rehearsal.py, or clouds.py
"""

import os
import secrets
import socket
import time

from launcher import __version__, codec
from launcher.adapters import recipe_file
from launcher.adapters.history import History, read_head
from launcher.adapters.retry import first_contact
from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.probe import check_create
from launcher.app.code import frozen_agent, frozen_code
from launcher.app.home import Found, Home
from launcher.app.looking import unreadable_records
from launcher.app.wiring import open_store
from launcher.core.contract import RECIPE_KEY, RUN_KEY, RunHead, journal_key
from launcher.core.plan.goal import deadline_of
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.errors import Damaged, KeyExists, KeyMissing, UsageError
from launcher.units import Utc


def create(home: Home, recipe: Recipe, run: str) -> Found:
    """A new run of `recipe`, its journal not begun. Raises UsageError where the name is taken."""
    home.make()
    refuse_taken(home, recipe, run)
    store = open_store(home.store_url(recipe, run))
    check_create(store)
    return _bear(home, store, run, recipe)


def refuse_taken(home: Home, recipe: Recipe, run: str) -> None:
    """Raises UsageError where a run of that name lies where this one would."""
    if _is_born(open_store(home.store_url(recipe, run))):
        raise _taken(run)


@first_contact()
def _is_born(store: ObjectStore) -> bool:
    try:
        store.get(RUN_KEY)
    except KeyMissing:
        return False
    return True


def _bear(home: Home, store: ObjectStore, run: str, recipe: Recipe) -> Found:
    frozen_code(store, recipe.workdir)
    store.replace(RECIPE_KEY, recipe_file.dump(recipe).encode())
    head = RunHead(run=run, incarnation=secrets.token_hex(6), created_at=time.time(), launch_version=__version__)
    found = Found(store=store, head=head)
    home.note(found)  # before the birth: the name of a run that was born must find it, whatever killed this process
    try:
        store.create(RUN_KEY, codec.dumps_digested(head))
    except KeyExists:
        if read_head(store) != head:  # else it is ours, and the answer was lost
            raise _taken(run) from None
    return found


def _taken(run: str) -> UsageError:
    return UsageError(f"a run named {run} exists already; continue it with `launch resume {run}`, or choose another --name")


def begin(found: Found, *, supervisor: str, insist: bool = False) -> History:
    """The run's journal, opened by `supervisor`, its creation journaled. Raises Overtaken where another opens too."""
    history = found.history(writer=supervisor)
    history.poll()
    at = found.market_now(history)
    check_beginning(history, at)
    started = ev.SupervisorStarted(at=at, supervisor=supervisor, host=socket.gethostname(), pid=os.getpid())
    history.open(started, insist=insist)
    if not history.is_created:
        history.append(_creation(found))
        history.copy_all()  # of all records this one is missed most: without it nobody knows what the run is
    return history


def check_beginning(history: History, at: Utc) -> None:
    """Raises Damaged where the record of the run's creation is lost: a new one would begin the run anew, over all its work."""
    if history.is_created:
        return
    bad = unreadable_records(history, at)
    if bad:
        raise Damaged(journal_key(bad[0]), "it cannot be read, has no copy, and without it nobody knows how the run was created")
    if not all(isinstance(record.event, ev.SupervisorStarted) for record in history.records):
        raise Damaged(journal_key(1), "the journal goes on, and no record tells how the run was created")


def _creation(found: Found) -> ev.RunCreated:
    recipe = frozen_recipe(found.store)
    return ev.RunCreated(
        at=found.head.created_at,
        run=found.head.run,
        incarnation=found.head.incarnation,
        recipe=recipe,
        deadline_at=deadline_of(recipe.policy, found.head.created_at),
        code=frozen_code(found.store, recipe.workdir),
        agent=None if recipe.is_local else frozen_agent(found.store),
    )


def frozen_recipe(store: ObjectStore) -> Recipe:
    """The recipe as it was at the run's start."""
    try:
        return recipe_file.parse(store.get(RECIPE_KEY).decode(), f"{store.url}/{RECIPE_KEY}")
    except (KeyMissing, UnicodeDecodeError) as error:
        raise Damaged(RECIPE_KEY, str(error)) from error
