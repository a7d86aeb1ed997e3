"""Sets of conversations put together: domains, splits, a folder of files.

Owns: which sets there are, their mixture, splits without a shared request, the folder that training and evaluation
read. Refuses: wording, tokens.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from env_tuning.environments.tool_class import ToolClass
from env_tuning.errors import UserError
from env_tuning.sft import assistant_data, payment_data
from env_tuning.sft.conversations import Conversation
from env_tuning.sft.files import read_conversations, write_json, write_parquet
from env_tuning.sft.tools import AssistantTools, PaymentTools
from env_tuning.sft.transcript import Flow, Transcript, Writer, draw

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One set.

    Attributes:
        name: carried by its rows.
        classes: whose tools the model sees.
        writers: how its conversations are made.
    """

    name: str
    classes: tuple[type[ToolClass], ...]
    writers: Mapping[Flow, Writer]


def _either(flow: Flow, talk: Transcript, rng: random.Random) -> None:
    rng.choice((assistant_data, payment_data)).WRITERS[flow](talk, rng)


def _both(talk: Transcript, rng: random.Random) -> None:
    for module in rng.sample((assistant_data, payment_data), 2):
        module.WRITERS[Flow.SINGLE](talk, rng)


# Without the answers to what no tool does: they name the tools of one set.
_MIXED: dict[Flow, Writer] = {
    flow: functools.partial(_either, flow)
    for flow in assistant_data.WRITERS
    if flow is not Flow.NO_TOOL and flow in payment_data.WRITERS
}

DOMAINS: Mapping[str, Domain] = MappingProxyType(
    {
        domain.name: domain
        for domain in (
            Domain(name=assistant_data.DOMAIN, classes=(AssistantTools,), writers=assistant_data.WRITERS),
            Domain(name=payment_data.DOMAIN, classes=(PaymentTools,), writers=payment_data.WRITERS),
            Domain(name="mixed", classes=(AssistantTools, PaymentTools), writers={**_MIXED, Flow.DOMAINS: _both}),
        )
    }
)
"""The two sets of the document, and both sets of tools in one conversation."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is generated.

    Attributes:
        domains: names from `DOMAINS`.
        rows: conversations of each domain for training and validation together.
        validation: share of `rows` that is kept for validation.
        test_rows: further conversations of each domain, held out from training and validation.
        flows: optional flows to add.
        seed: of everything.
    """

    domains: tuple[str, ...] = (assistant_data.DOMAIN, payment_data.DOMAIN)
    rows: int = 200
    validation: float = 0.1
    test_rows: int = 100
    flows: tuple[Flow, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        """Reject settings that give an empty split."""
        if unknown := [name for name in self.domains if name not in DOMAINS]:
            raise UserError(f"no domain {unknown[0]!r}; there are: {', '.join(DOMAINS)}")
        if not self.domains or self.rows < 20 or self.test_rows < 1 or not 0 < self.validation < 1:
            raise UserError(
                "at least one domain, 20 rows, 1 test row, and a validation share between 0 and 1 are needed"
            )


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three lists of conversations; no first request is in two of them."""

    train: tuple[Conversation, ...]
    validation: tuple[Conversation, ...]
    test: tuple[Conversation, ...]

    def __getitem__(self, name: str) -> tuple[Conversation, ...]:
        """The split of a name in `SPLITS`."""
        return getattr(self, name)  # type: ignore[no-any-return]


def generate(settings: DataSettings) -> Splits:
    """The splits of generated domains.

    Raises:
        ValueError: the wording does not give as many different requests.
    """
    train: list[Conversation] = []
    validation: list[Conversation] = []
    test: list[Conversation] = []
    for name in settings.domains:
        domain = DOMAINS[name]
        make = functools.partial(draw, name, domain.classes, domain.writers, extra=settings.flows)
        # The mixed set shares its wording with the others.
        seen = {row.request for row in (*train, *validation, *test)}
        rows = make(rows=settings.rows, seed=settings.seed, known=seen)
        cut = max(1, round(settings.rows * settings.validation))
        validation += rows[:cut]
        train += rows[cut:]
        seen |= {row.request for row in rows}
        test += make(rows=settings.test_rows, seed=settings.seed + 1, known=seen)
    return Splits(train=_shuffled(train, settings.seed), validation=tuple(validation), test=tuple(test))


def split(rows: Sequence[Conversation], *, validation: float, test: float, seed: int) -> Splits:
    """Cut rows of any origin into splits; rows with the same first request stay together.

    Args:
        rows: at least one request for every split.
        validation: share of the requests.
        test: share of the requests.
        seed: of the order.

    Raises:
        UserError: too few different requests.
    """
    requests = sorted({row.request for row in rows})
    random.Random(seed).shuffle(requests)
    counts = (max(1, round(len(requests) * validation)), max(1, round(len(requests) * test)))
    if len(requests) <= sum(counts):
        raise UserError(f"{len(requests)} different requests cannot be split into three; give more rows")
    first, second = set(requests[: counts[0]]), set(requests[counts[0] : sum(counts)])
    return Splits(
        train=_shuffled([row for row in rows if row.request not in first | second], seed),
        validation=tuple(row for row in rows if row.request in first),
        test=tuple(row for row in rows if row.request in second),
    )


def mix(*parts: Splits, seed: int = 1) -> Splits:
    """Splits put together, split by split; training rows in a new random order."""
    return Splits(
        train=_shuffled([row for part in parts for row in part.train], seed),
        validation=tuple(row for part in parts for row in part.validation),
        test=tuple(row for part in parts for row in part.test),
    )


def write_splits(splits: Splits, folder: Path) -> None:
    """Write every split as JSON and as parquet."""
    for name in SPLITS:
        write_json(splits[name], folder / f"{name}.json")
        write_parquet(splits[name], folder / f"{name}.parquet")


def read_split(folder: Path, name: str) -> list[Conversation]:
    """The rows of one split, from its parquet file or else from its JSON file.

    Raises:
        UserError: there is neither, or a row is bad.
    """
    for ending in ("parquet", "json"):
        if (file := folder / f"{name}.{ending}").is_file():
            return read_conversations(file)
    raise UserError(f"{folder} has no {name}.parquet and no {name}.json; make them with: env-tuning sft data {folder}")


def _shuffled(rows: list[Conversation], seed: int) -> tuple[Conversation, ...]:
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    return tuple(shuffled)
