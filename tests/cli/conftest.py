"""Shared by the tests of what a person types."""

import pytest


@pytest.fixture
def recipe_at(tmp_path, monkeypatch):
    """Writes a recipe into an empty working directory and gives the name to load it by."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes, name: str = "recipe.yaml") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    return write
