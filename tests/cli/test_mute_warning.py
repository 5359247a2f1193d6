"""`launch status` warns of machines that come up and say nothing before they end the run."""

from launcher.adapters.history import History
from launcher.app.standing import warnings_of
from launcher.core.instance import EndCause
from launcher.core.run import events as ev
from tests import builders
from tests.cli.past import INCARNATION, note


def test_machines_whose_agents_never_spoke_are_a_warning_from_the_second_on():
    history = History(note("r"), INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=builders.NOW, supervisor="s1", host="h", pid=1))
    recipe = builders.new_run().recipe
    created = ev.RunCreated(at=builders.NOW, run="r", incarnation=INCARNATION, recipe=recipe, deadline_at=None, code=None)
    history.append(created)
    shown = []
    for n in (1, 2):
        unwanted = ev.AttemptUnwanted(at=builders.NOW, attempt=n, reason="no heartbeat", drain=False, silent=True)
        for event in (builders.requested(history.state), builders.started(n), unwanted, builders.lost(n, EndCause.STOPPED)):
            history.append(event)
        shown.append(warnings_of(history, builders.NOW, None))
    assert shown[0] == (), "one may be a bad machine"
    assert shown[1] == ("2 machines in a row came up and their agents never spoke; at 3 the run pauses",)
