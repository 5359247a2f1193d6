from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    machine = Rig(tmp_path)
    yield machine
    machine.close()
