"""What a drill did and found, to be printed as a table."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True, kw_only=True)
class Figures:
    """Grows while a drill goes on. `blows` counts kills by the moment they hit."""

    target: str
    seed: int
    runs: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    torn_saves: int = 0  # begun when the kill came, and never committed
    violations: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.blows.total()

    def blame(self, run: str, folder: Path, found: list[str]) -> None:
        self.violations += [f"{run} ({folder}): {sentence}" for sentence in found]

    def lines(self) -> list[str]:
        """A table for people; violations last, with what repeats them."""
        rows = [f"  {moment:<28} {count:>4}" for moment, count in sorted(self.blows.items())]
        verdict = "nothing lost" if not self.violations else f"{len(self.violations)} violations, seed {self.seed}"
        head = f"{self.target}: {self.kills} kills in {self.runs} runs: {verdict}"
        if self.torn_saves:
            rows.append(f"  {'(left a save torn)':<28} {self.torn_saves:>4}")
        return [head, *rows, *(f"  ✗ {sentence}" for sentence in self.violations)]
