"""Writing a conversation by acting it out: the results in it are what the tools really answered.

Owns: `Transcript`, the flows that rows can show, and how a set of rows is drawn. Refuses: wording (`assistant_data.py`,
`payment_data.py`).
"""

from __future__ import annotations

import enum
import functools
import random
from collections.abc import Callable, Collection, Mapping, Sequence

from env_tuning.calls import ToolCall
from env_tuning.environments.environment import Environment
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.environments.tool_class import ToolClass
from env_tuning.evaluation.native import function_tool
from env_tuning.sft.conversations import Conversation, Message, Tool, call_message


class Flow(enum.Enum):
    """What a conversation shows."""

    SINGLE = "single"
    """One request, one call."""
    PARALLEL = "parallel"
    """Several calls in one message."""
    ASK = "ask"
    """Something is missing: the assistant asks, and calls once it is told."""
    NO_TOOL = "no_tool"
    """No tool does it: the assistant answers."""
    REFUSE = "refuse"
    """A rule forbids the call: the assistant says so."""
    CHAIN = "chain"
    """One call after the other."""
    RECOVERY = "recovery"
    """A call fails; the assistant tries again or explains."""
    CONFIRMATION = "confirmation"
    """The user wants to be asked first."""
    DOMAINS = "domains"
    """One request to each set of tools."""


OPTIONAL_FLOWS = (Flow.CHAIN, Flow.RECOVERY, Flow.CONFIRMATION, Flow.DOMAINS)
"""Not in the two plain sets; each takes a tenth of the rows of a set that is asked for it."""

SHARES: Mapping[Flow, float] = {
    Flow.SINGLE: 0.6,
    Flow.PARALLEL: 0.1,
    Flow.ASK: 0.1,
    Flow.NO_TOOL: 0.1,
    Flow.REFUSE: 0.1,
}
"""Of the plain sets. A set that knows no rows of a flow gives its share to `Flow.SINGLE`."""

_PATIENCE = 500
"""Requests in a row that were there before; after so many the wording counts as used up."""

Writer = Callable[["Transcript", random.Random], None]
"""Acts one conversation out."""


class Transcript:
    """One conversation in the making; single-use."""

    def __init__(self, *classes: type[ToolClass], busy: int = 0) -> None:
        """Start with fresh tools.

        Args:
            classes: whose tools the model sees.
            busy: how many calls fail first.
        """
        self.classes = classes
        self.messages: list[Message] = []
        self._environment = Environment({kind.__name__: kind({"busy": busy}) for kind in classes})

    def user(self, text: str) -> None:
        """The user speaks."""
        self.messages.append({"role": "user", "content": text})

    def assistant(self, text: str) -> None:
        """The assistant speaks."""
        self.messages.append({"role": "assistant", "content": text})

    def call(self, *calls: ToolCall) -> None:
        """The assistant calls tools in one message, and they answer."""
        self.messages.append(call_message(calls))
        for call in calls:
            self.messages.append({"role": "tool", "name": call.name, "content": self._environment.call(call).text})

    def finished(self, domain: str, flow: Flow) -> Conversation:
        """The conversation."""
        return Conversation(messages=tuple(self.messages), tools=tools_of(self.classes), domain=domain, flow=flow.value)


@functools.cache
def tools_of(classes: tuple[type[ToolClass], ...]) -> tuple[Tool, ...]:
    """The function schemas of the tools of some classes. Shared: read them, never change them."""
    return tuple(function_tool(doc) for kind in classes for doc in tool_docs_of(kind))


def draw(
    domain: str,
    classes: Sequence[type[ToolClass]],
    writers: Mapping[Flow, Writer],
    *,
    rows: int,
    seed: int,
    extra: Collection[Flow] = (),
    known: Collection[str] = (),
) -> list[Conversation]:
    """Rows of one set, in random order, no two with the same first request.

    Args:
        domain: the name of the set.
        classes: whose tools the model sees.
        writers: how conversations of each flow are made.
        rows: how many.
        seed: of everything; the same seed gives the same rows.
        extra: optional flows to add.
        known: first requests that must not come up, those of another split.

    Raises:
        ValueError: the wording does not give as many different requests.
    """
    rng = random.Random(f"{domain}/{seed}")
    taken, found = set(known), []
    for flow, number in _numbers(writers, rows, extra).items():
        refused = 0
        while number:
            transcript = Transcript(*classes, busy=1 if flow is Flow.RECOVERY else 0)
            writers[flow](transcript, rng)
            request = transcript.messages[0]["content"]
            if request in taken:
                if (refused := refused + 1) > _PATIENCE:
                    raise ValueError(f"{domain}: the wording gives no more rows of flow {flow.value}; ask for fewer")
                continue
            taken.add(request)
            found.append(transcript.finished(domain, flow))
            number, refused = number - 1, 0
    rng.shuffle(found)
    return found


def _numbers(writers: Mapping[Flow, Writer], rows: int, extra: Collection[Flow]) -> dict[Flow, int]:
    """How many rows of each flow; rounding goes to the first."""
    wanted = [flow for flow in OPTIONAL_FLOWS if flow in extra and flow in writers]
    numbers = dict.fromkeys(wanted, rows // 10)
    plain = rows - sum(numbers.values())
    shares = {flow: share for flow, share in SHARES.items() if flow in writers and flow is not Flow.SINGLE}
    numbers |= {flow: round(plain * share) for flow, share in shares.items()}
    single = rows - sum(numbers.values())
    return {Flow.SINGLE: single, **numbers} if Flow.SINGLE in writers else numbers
