"""Names of runs: what a person can say aloud, what clouds take as a label, and what is not taken yet."""

import random
import re
import secrets

from launcher.errors import UsageError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


def checked_name(name: str) -> str:
    """A name for a run that clouds take as a label too. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: use up to 40 lower-case letters, digits and dashes, such as tuned-llama-2")
    return name


def random_name() -> str:
    """One of 250 million: a home would need thousands of runs before one of them is met again."""
    return f"{random.choice(_ADJECTIVES)}-{random.choice(_NOUNS)}-{secrets.token_hex(2)}"


_ADJECTIVES = """amber brave brisk calm clear clever cosmic crisp dapper eager early fair fleet gentle glad golden grand happy
    hardy honest jolly keen kind lively lucky mellow merry mild neat noble patient plucky polite prime proud quick quiet rapid
    ready sage serene sharp shy silver sleek smooth snug solid spry steady still sturdy sunny swift tidy trusty vivid warm
    wise witty young zesty""".split()
_NOUNS = """badger beaver bison bobcat buffalo camel caribou cheetah condor coyote crane dolphin eagle egret elk falcon ferret
    finch fox gazelle gecko gibbon goose grouse heron hornet ibex jackal jaguar kestrel koala lark lemur leopard lion lizard
    llama lynx magpie marmot marten moose newt ocelot oriole osprey otter owl panda panther pelican penguin puffin puma quail
    rabbit raven robin salmon seal sparrow stork swan tapir tern tiger toucan turtle walrus weasel whale wolf wombat wren
    zebra""".split()
