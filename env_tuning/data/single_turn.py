"""The benchmark's single-turn questions: one message of a user, functions, and the calls that are right.

Owns: which files they are, their hashes, and reading them. Refuses: training on them, Java and JavaScript, judging
(`metrics.ast_match`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from env_tuning.data.sources import DATA_FOLDER, read_pinned
from env_tuning.errors import UserError
from env_tuning.metrics.ast_match import PossibleAnswer
from env_tuning.metrics.measures import Kind
from env_tuning.task import ToolDoc, tool_docs

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "simple_python": Kind.SIMPLE,
        "multiple": Kind.MULTIPLE,
        "parallel": Kind.PARALLEL,
        "parallel_multiple": Kind.PARALLEL_MULTIPLE,
        "irrelevance": Kind.IRRELEVANCE,
        "live_simple": Kind.SIMPLE,
        "live_multiple": Kind.MULTIPLE,
        "live_parallel": Kind.PARALLEL,
        "live_parallel_multiple": Kind.PARALLEL_MULTIPLE,
        "live_relevance": Kind.RELEVANCE,
        "live_irrelevance": Kind.IRRELEVANCE,
    }
)
"""Categories by the benchmark's names, and what each measures."""

# As `sha256sum` prints it in the wheel's data folder.
_SHA256 = """\
82dd63ba502eb2520c6b5d1d9a5c4b590e03ff261565175561f6228a367d1991  BFCL_v4_simple_python.json
90cd5bc653690ee8e459b5b3f3fc9458606f7f3fcbf795bb51b7dc581f8c86dc  possible_answer/BFCL_v4_simple_python.json
aef168155ebd74b7ac2401198b201343bc7d16d7a3d7e0d4e6d8ee82c6969b2a  BFCL_v4_multiple.json
244e00ce9395df948bcafc7bee64e8f9c87ef70887587d83cae45b13699f3047  possible_answer/BFCL_v4_multiple.json
19f51a82eff42e5d62541aa500115a056eb78f437c2ba1f10415fd7c8e5dda84  BFCL_v4_parallel.json
8a6aa19c1adddc6a5a2f7e40f9dbf30cc7e95815e7b830c90589ab318229e0f0  possible_answer/BFCL_v4_parallel.json
8863ea8433239f55c5f016154cf0830853c89f693c6ea270396a2fa121960579  BFCL_v4_parallel_multiple.json
5ebf24f458c1f16300c05505d83d6f0a1b68b79be273a033febd0d4f840507e3  possible_answer/BFCL_v4_parallel_multiple.json
2b6ed4c2e992cdcf5f1678a701851f944bef7550ee026ed1ddb89efed5be01a6  BFCL_v4_irrelevance.json
1af2ac87dca47556db7b7e37e51e28b459a38b594e3c7b3c792b4903598ca0c4  BFCL_v4_live_simple.json
fec9cfa9744a936f9126981e85a2023da1e63e273eafebc81923a1162fad70ce  possible_answer/BFCL_v4_live_simple.json
fd8ccfad4d911420d0e3341dbe2fff77d1d341da934248b9bb2bda24ab3a10c8  BFCL_v4_live_multiple.json
97e90d59c5bd76c55a2920ce93e5566e9046307d3f558578f085f9d3a56c3084  possible_answer/BFCL_v4_live_multiple.json
6c26e9fdc3350cf596e6d1ea9c179cbff834761bccf562f4141ed29a839ca421  BFCL_v4_live_parallel.json
8a9f189ff0e832ebbbbdade1fd95a7dbcc67406e9177df3f0aad76f59ab00350  possible_answer/BFCL_v4_live_parallel.json
21d4b9319c1faac431e22757b367ea28917fe467364c3a4b17f16ec06d4f6e79  BFCL_v4_live_parallel_multiple.json
f5b5f360556c5feb51db46fb9f56ee4b304f4b45b161599bbb14161c98a2873f  possible_answer/BFCL_v4_live_parallel_multiple.json
6559fda2beaceb609a2cd2e504c65b4a56cb448e1ef88fddfd199e163d163349  BFCL_v4_live_irrelevance.json
e03f9e241657a137cba48a89ee12f47bf3fcb7e4f6274263e9c699a0c974203a  BFCL_v4_live_relevance.json
"""

SHA256: Mapping[str, str] = MappingProxyType(
    {f"{DATA_FOLDER}/{path}": digest for digest, path in (line.split() for line in _SHA256.splitlines())}
)
"""Every file, by its path in the wheel."""


@dataclass(frozen=True, kw_only=True)
class SingleTurn:
    """One question.

    Attributes:
        id: the benchmark's.
        category: a key of `KINDS`.
        messages: role and content, the last one a user's.
        tools: documents of the functions.
        possible: a possible answer for every right call; none where only calling at all is judged.
    """

    id: str
    category: str
    messages: tuple[Mapping[str, str], ...]
    tools: tuple[ToolDoc, ...]
    possible: tuple[PossibleAnswer, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the question measures."""
        return KINDS[self.category]


def read_single_turn(source: Path, categories: Sequence[str]) -> tuple[SingleTurn, ...]:
    """The questions of categories, in their order.

    Args:
        source: the benchmark's wheel, or a folder that it was unpacked into.
        categories: keys of `KINDS`.

    Raises:
        UserError: there is no such category.
        ValueError: a file is missing or of another release; one line with the file and the fix.
    """
    if unknown := [name for name in categories if name not in KINDS]:
        raise UserError(f"no category {unknown[0]!r}; there are {', '.join(KINDS)}")
    paths = {name: _paths(name) for name in dict.fromkeys(categories)}
    texts = read_pinned(source, {path: SHA256[path] for both in paths.values() for path in both})
    return tuple(question for name in paths for question in _questions(name, [texts[path] for path in paths[name]]))


def _paths(category: str) -> list[str]:
    """The file of questions, and that of their answers if they have any."""
    named = (f"BFCL_v4_{category}.json", f"possible_answer/BFCL_v4_{category}.json")
    return [path for path in (f"{DATA_FOLDER}/{name}" for name in named) if path in SHA256]


def _questions(category: str, texts: Sequence[str]) -> list[SingleTurn]:
    questions, *answers = ([json.loads(line) for line in text.splitlines()] for text in texts)
    right = {record["id"]: record["ground_truth"] for record in (answers[0] if answers else ())}
    return [
        SingleTurn(
            id=record["id"],
            category=category,
            messages=tuple(record["question"][0]),
            tools=tuple(tool_docs(record["function"])),
            possible=tuple(right.get(record["id"], ())),
        )
        for record in questions
    ]
