"""The benchmark's own files: where they come from and whether they are the right ones.

Owns: the pinned release of bfcl-eval, the hashes of the files we read from it, and reading them from a wheel or a
folder. Refuses: importing or installing the package (it pins an old numpy), and files with another hash: a score
means nothing if the questions differ.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from env_tuning.data.splits import Category
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.task import ToolDoc, tool_docs

PACKAGE = "bfcl-eval"
VERSION = "2026.3.23"
WHEEL = f"bfcl_eval-{VERSION}-py3-none-any.whl"

DATA_FOLDER = "bfcl_eval/data"
LONG_CONTEXT_FILE = "bfcl_eval/eval_checker/multi_turn_eval/func_source_code/long_context.py"

TOOL_DOC_FILES: Mapping[str, str] = MappingProxyType(
    {
        "GorillaFileSystem": f"{DATA_FOLDER}/multi_turn_func_doc/gorilla_file_system.json",
        "MathAPI": f"{DATA_FOLDER}/multi_turn_func_doc/math_api.json",
        "MessageAPI": f"{DATA_FOLDER}/multi_turn_func_doc/message_api.json",
        "TwitterAPI": f"{DATA_FOLDER}/multi_turn_func_doc/posting_api.json",
        "TicketAPI": f"{DATA_FOLDER}/multi_turn_func_doc/ticket_api.json",
        "TradingBot": f"{DATA_FOLDER}/multi_turn_func_doc/trading_bot.json",
        "TravelAPI": f"{DATA_FOLDER}/multi_turn_func_doc/travel_booking.json",
        "VehicleControlAPI": f"{DATA_FOLDER}/multi_turn_func_doc/vehicle_control.json",
    }
)

# As `sha256sum` prints it in the wheel's data folder.
_DATA_SHA256 = """\
1a21a995d06fd6f20ba55de7bced30ef953ec35e998f502ec2ecf4d66ef1c43a  BFCL_v4_multi_turn_base.json
78c3268c5cc8e97c0f4ec6c811b3b9a2bba14323b1830b7a874b06d822749324  BFCL_v4_multi_turn_long_context.json
87d28ce10e37d864b72de85d5732eef2a867b241d6c1c99b4ae682c9e3ea921c  BFCL_v4_multi_turn_miss_func.json
f0c66dda3795f5f53e3e1c0cc8ba0246b6761c8f58bdba8317203bf451ab8838  BFCL_v4_multi_turn_miss_param.json
1fee67823b317571649177dd89d63969feaae4e810cc7448ee55ba797fb7c8fc  possible_answer/BFCL_v4_multi_turn_base.json
e82aa0e839c39d23c64a05834f7ae024d7c9738ec21738ecee78dc876e3d0d18  possible_answer/BFCL_v4_multi_turn_long_context.json
69e679b806d1c871b05393a4b95583bb973248e5b8d96c2d7f4ca05e29fc32e6  possible_answer/BFCL_v4_multi_turn_miss_func.json
59c442901779e2c31c33abcd566d032e03736e5ad8069de2fe05489873046ecf  possible_answer/BFCL_v4_multi_turn_miss_param.json
c4c1b741c71e2a17c97a5dc9c4a91d89978c4eaece56494d14272d5df6c650e9  multi_turn_func_doc/gorilla_file_system.json
83fa31708c89442bdcf12ac4dfbe3be8663ec9183a1b1524a9fda98164bc7e0b  multi_turn_func_doc/math_api.json
4d58ea933a5d2b280d7a52366617fb47fecd333d7b0e08e724db6fa12fb5f847  multi_turn_func_doc/message_api.json
87f9fc404a06e4107d7c366f1399c596440e84c16cb119faf374b2f532d86e8b  multi_turn_func_doc/posting_api.json
31324e0380782664fe82ba05bd23517808ad55692b45a5fe7c3d4d395fe4f0f8  multi_turn_func_doc/ticket_api.json
1a7933fd8f0cb8fbec38aeae05cb8c24132747cad4904fe1c13ac3d01fc22c2d  multi_turn_func_doc/trading_bot.json
f17b950c13adddf41d0848077df58788252e4c2e7cad5cfa71c8c4bf04f57b26  multi_turn_func_doc/travel_booking.json
0c8a66292844874ef7b168f343bc394d8615d2d9e1f4387999a9ee23011eac78  multi_turn_func_doc/vehicle_control.json
"""

SHA256: Mapping[str, str] = MappingProxyType(
    {
        **{f"{DATA_FOLDER}/{path}": digest for digest, path in (line.split() for line in _DATA_SHA256.splitlines())},
        LONG_CONTEXT_FILE: "5c9a5710115609c779e5b2ccb43f6ad58271ed96f2ea7a797edb0d65c385aa38",
    }
)
"""Every file we read from the wheel, by its path in the wheel."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The checked contents of the benchmark, as it ships them.

    Attributes:
        questions: the question records of every category, in file order.
        answers: the ground-truth records of every category, aligned with `questions`.
        tool_docs: tool class name to the documents of its tools, in file order.
        long_context: the padding data of long-context tasks.
    """

    questions: Mapping[Category, tuple[Mapping[str, Any], ...]]
    answers: Mapping[Category, tuple[Mapping[str, Any], ...]]
    tool_docs: Mapping[str, tuple[ToolDoc, ...]]
    long_context: LongContext


def question_file(category: Category) -> str:
    """Path in the wheel of a category's questions."""
    return f"{DATA_FOLDER}/BFCL_v4_{category.value}.json"


def answer_file(category: Category) -> str:
    """Path in the wheel of a category's ground truth."""
    return f"{DATA_FOLDER}/possible_answer/BFCL_v4_{category.value}.json"


def default_cache() -> Path:
    """The folder that keeps downloaded wheels: ``env_tuning`` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "env_tuning"


def fetch_wheel(cache: Path) -> Path:
    """The pinned wheel in a cache folder, downloaded with the user's own pip configuration if it is not there.

    Raises:
        ValueError: pip is missing or failed; the message says how to give a wheel by hand.
    """
    wheel = cache / WHEEL
    if wheel.is_file():
        return wheel
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(cache), f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False
    )
    if done.returncode or not wheel.is_file():
        reason = (done.stderr.strip() or f"pip left no {WHEEL}").splitlines()[-1]
        raise ValueError(
            f"could not download {PACKAGE}=={VERSION} ({reason}); get {WHEEL} on another machine and run: "
            f"env-tuning prepare --source PATH-OF-THE-WHEEL"
        )
    return wheel


def read_benchmark(source: Path) -> Benchmark:
    """Read and check the benchmark.

    Args:
        source: the wheel, or a folder that it was unpacked into (with ``bfcl_eval`` inside, or that folder itself).

    Raises:
        ValueError: not such a place, a file is missing, or a hash is wrong; one line with the file and the fix.
    """
    texts = read_pinned(source, SHA256)
    return Benchmark(
        questions={category: _records(texts[question_file(category)]) for category in Category},
        answers={category: _records(texts[answer_file(category)]) for category in Category},
        tool_docs={name: tuple(tool_docs(_records(texts[path]))) for name, path in TOOL_DOC_FILES.items()},
        long_context=read_long_context(texts[LONG_CONTEXT_FILE]),
    )


def read_long_context(source_code: str) -> LongContext:
    """The tables of the benchmark's long-context module, read as literals: the module is never run."""
    tables: dict[str, Any] = {}
    for statement in ast.parse(source_code).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            tables[statement.targets[0].id.lower()] = ast.literal_eval(statement.value)
    return LongContext(**tables)


def read_pinned(source: Path, hashes: Mapping[str, str]) -> dict[str, str]:
    """The text of files of the benchmark, by their path in the wheel.

    Args:
        source: as `read_benchmark` takes it.
        hashes: SHA-256 of every file, by its path in the wheel.

    Raises:
        ValueError: as `read_benchmark`.
    """
    if source.is_dir():
        root = source.parent if source.name == "bfcl_eval" else source
        return {path: _checked(path, lambda path: (root / path).read_bytes(), source, hashes) for path in hashes}
    try:
        with zipfile.ZipFile(source) as wheel:
            return {path: _checked(path, wheel.read, source, hashes) for path in hashes}
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source} is neither a wheel nor a folder ({error}); {_fix(source)}") from None


def _checked(path: str, read: Callable[[str], bytes], source: Path, hashes: Mapping[str, str]) -> str:
    try:
        content = read(path)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error):
        raise ValueError(f"{path} cannot be read from {source}; {_fix(source)}") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != hashes[path]:
        raise ValueError(f"{path}: sha256 is {actual}, expected {hashes[path]}; {_fix(source)}")
    return content.decode("utf-8")


def _fix(source: Path) -> str:
    damaged = "" if source.is_dir() else f"delete {source} if it is a download, or "
    return f"{damaged}give the wheel of {PACKAGE}=={VERSION}: env-tuning prepare --source PATH"


def _records(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in text.splitlines() if line.strip())
