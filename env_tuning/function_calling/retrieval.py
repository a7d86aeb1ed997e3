"""Which tools of the inventory a request is shown.

Owns: ranking tools for a query, by BM25 or by an embedding model, recall, and what happens when a needed tool is not
among the candidates. Refuses: running while episodes are played; candidates are chosen when data is prepared.
"""

from __future__ import annotations

import enum
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from env_tuning.errors import UserError
from env_tuning.function_calling.records import Tool


class Missing(enum.Enum):
    """What is done with a request whose needed tools are not all among the candidates."""

    RESAMPLE = "resample"
    """It is left out; episodes are of other dialogues."""
    INJECT = "inject"
    """The needed tools take the places of the last candidates."""
    KEEP = "keep"
    """It stays as it is, and can only be solved in part."""


class Retriever(Protocol):
    """Ranks tools."""

    def rank(self, query: str, k: int) -> list[str]:
        """The names of the k tools nearest to a query, nearest first."""


_WORD = re.compile(r"[^\W_]+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def words(text: str) -> list[str]:
    """Words in lower case, `CamelCase` and `snake_case` taken apart; of Chinese, Japanese and Korean, characters."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    found: list[str] = []
    for word in _WORD.findall(split.lower()):
        found.extend(word if _CJK.search(word) else [word])
    return found


class BM25:
    """Okapi BM25 over names, descriptions and parameter names; needs no model. Ties are broken by inventory order."""

    def __init__(self, tools: Mapping[str, Tool], *, k1: float = 1.5, b: float = 0.75) -> None:
        """Count words once.

        Args:
            tools: by name.
            k1: how much a repeated word adds.
            b: how much long documents are discounted, from 0 to 1.
        """
        self._names = list(tools)
        documents = [Counter(words(_document(tool))) for tool in tools.values()]
        lengths = [sum(document.values()) for document in documents]
        mean = sum(lengths) / len(lengths) or 1.0
        frequency = Counter(word for document in documents for word in document)
        rarity = {word: math.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) for word, n in frequency.items()}
        self._weights = [
            {
                word: rarity[word] * count * (k1 + 1) / (count + k1 * (1 - b + b * length / mean))
                for word, count in document.items()
            }
            for document, length in zip(documents, lengths, strict=True)
        ]

    def rank(self, query: str, k: int) -> list[str]:
        """See `Retriever`."""
        asked = words(query)
        scores = [sum(weights.get(word, 0.0) for word in asked) for weights in self._weights]
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        return [self._names[index] for index in order[:k]]


class Embeddings:
    """Cosine similarity of embeddings, by an object with sentence-transformers' ``encode``."""

    def __init__(self, tools: Mapping[str, Tool], encoder: Any) -> None:
        """Embed every tool's name and description once."""
        self._names = list(tools)
        self._encoder = encoder
        self._vectors = self._normalised([f"{tool.name}: {tool.description}" for tool in tools.values()])

    def _normalised(self, texts: Sequence[str]) -> Any:
        import numpy as np

        vectors = np.asarray(self._encoder.encode(list(texts)), dtype=np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def rank(self, query: str, k: int) -> list[str]:
        """See `Retriever`."""
        scores = self._vectors @ self._normalised([query])[0]
        order = sorted(range(len(self._names)), key=lambda index: (-float(scores[index]), index))
        return [self._names[index] for index in order[:k]]


def retriever(tools: Mapping[str, Tool], embedding_model: str) -> Retriever:
    """The retriever of ``--embedding_model``: ``bm25``, or a sentence-transformers model by name or folder.

    Raises:
        UserError: sentence-transformers is not installed, or cannot load the model.
    """
    if embedding_model == "bm25":
        return BM25(tools)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError(
            f"the embedding model {embedding_model} needs sentence-transformers: pip install 'env-tuning[retrieval]', "
            "or use bm25"
        ) from None
    try:
        encoder = SentenceTransformer(embedding_model)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the embedding model {embedding_model} cannot be loaded ({reason})") from None
    return Embeddings(tools, encoder)


def recall(candidates: Sequence[str], needed: Sequence[str]) -> float:
    """The share of the needed tools among the candidates; 1 when none is needed."""
    return sum(name in candidates for name in needed) / len(needed) if needed else 1.0


def inject(candidates: Sequence[str], needed: Sequence[str]) -> list[str]:
    """The candidates with the needed tools in the places of the last ones that are not needed.

    There are more candidates than before only if more tools are needed than there were candidates.
    """
    missing = [name for name in needed if name not in candidates]
    kept = list(candidates)
    for index in reversed(range(len(kept))):
        if missing and kept[index] not in needed:
            kept[index] = missing.pop()
    return [*kept, *missing]


def _document(tool: Tool) -> str:
    return " ".join([tool.name, tool.description, *(parameter.name for parameter in tool.parameters)])
