"""How a model speaks: prompt and parser from one object, chosen by name."""

from env_tuning.protocols.base import (
    Action,
    Answer,
    Malformed,
    PromptVersion,
    Protocol,
    ToolListing,
    UseTools,
)
from env_tuning.protocols.hermes import Hermes
from env_tuning.protocols.python_block import PythonBlock
from env_tuning.protocols.think_answer import ThinkAnswer

PROTOCOLS = {protocol.name: protocol for protocol in (ThinkAnswer, Hermes, PythonBlock)}


def protocol(name: str) -> Protocol:
    """The protocol of a name; `ValueError` lists the known ones."""
    if name not in PROTOCOLS:
        raise ValueError(f"no protocol named {name!r}; known: {', '.join(sorted(PROTOCOLS))}")
    return PROTOCOLS[name]()


__all__ = [
    "PROTOCOLS",
    "Action",
    "Answer",
    "Hermes",
    "Malformed",
    "PromptVersion",
    "Protocol",
    "PythonBlock",
    "ThinkAnswer",
    "ToolListing",
    "UseTools",
    "protocol",
]
