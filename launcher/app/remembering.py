"""What a run teaches of its places, added to the home's memory while it goes on.

A rehearsal adds nothing: see core/run/lessons.py.
"""

from dataclasses import dataclass, field
from pathlib import Path

from launcher import log
from launcher.adapters.history import History
from launcher.adapters.market.memory import Memory
from launcher.core.run import events as ev
from launcher.core.run.lessons import lessons_of
from launcher.core.run.state import RunState


def memory_path(home: Path) -> Path:
    return home / "history/attempts.jsonl"


def memory_of(home: Path) -> Memory:
    return Memory(memory_path(home))


@dataclass(slots=True)
class Remembering:
    """Adds what a run teaches to the home's memory as its attempts settle. Never disturbs the run: what fails is logged.

    Nothing depends on its being called in time: it looks at the whole journal, so a later call makes up for one that was missed,
    by a crash or by a home that could not be written.
    """

    home: Path
    history: History
    _noted: set[str] = field(default_factory=set)

    def hear(self, event: ev.Event, state: RunState) -> None:
        """A listener of the loop. An attempt is settled by one of these."""
        if isinstance(event, ev.InstanceEnded | ev.AttemptSealed):
            self.note()

    def note(self) -> None:
        """All that the journal tells by now."""
        lessons = lessons_of(self.history.state, (record.event for record in self.history.records))
        fresh = [lesson for lesson in lessons if lesson.key not in self._noted]
        if not fresh:
            return
        try:
            memory_of(self.home).add(fresh)
        except OSError as error:
            log.warning("not_remembered", error=str(error))
        else:
            self._noted.update(lesson.key for lesson in fresh)
