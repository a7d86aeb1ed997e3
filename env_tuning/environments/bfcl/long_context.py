"""The benchmark's padding data for long-context tasks.

The texts and tables (190 kB) are benchmark data: `env-tuning prepare` reads them from the pinned wheel as
literals and writes `long_context.json`; nothing of them is kept in this repository. A tool class that was
given a `LongContext` pads its state or its results with it. The data is shared by all episodes, so no class
may mutate it: copy what becomes state. One table of the benchmark holds a Python ``...`` by accident, which its
results print as ``Ellipsis``: JSON has no such value, so the file spells it ``{"python": "..."}``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from env_tuning.environments.rendering import FixedList, FixedText


@dataclass(frozen=True, kw_only=True)
class LongContext:
    """One field for each table of the benchmark's long-context module, lower-cased name."""

    watch_list_extension: list[str]
    transaction_history_extension: list[dict[str, Any]]
    ma_5_extension: Sequence[float]
    ma_20_extension: Sequence[float]
    technology_extension: list[str]
    automobile_extension: list[str]
    order_detail_extension: dict[str, str]
    file_content_extension: str
    populate_file_extension: list[str]
    car_status_metadata_extension: str
    long_weather_extension: dict[str, Any]
    parking_brake_instruction: str
    intermediary_cities: Sequence[str]
    credit_card_extension: dict[str, Any]
    booking_record_extension: dict[str, Any]
    files_tail_used: list[str]

    def __post_init__(self) -> None:
        """Fix the tables that results contain as they are: they are printed once."""
        for name in ("ma_5_extension", "ma_20_extension", "intermediary_cities"):
            object.__setattr__(self, name, FixedList(getattr(self, name)))
        for name in ("car_status_metadata_extension", "parking_brake_instruction"):
            object.__setattr__(self, name, FixedText(getattr(self, name)))

    @classmethod
    def load(cls, path: Path) -> LongContext:
        """Read the JSON file that `env-tuning prepare` wrote.

        Raises:
            ValueError: the file is missing or lacks a table; the message names the command that makes it.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"), object_hook=_restore_ellipsis)
            return cls(**{field.name: data[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{path} is not the benchmark's long-context data ({error!r}); run: env-tuning prepare"
            ) from None

    def dump(self, path: Path) -> None:
        """Write the file that `load` reads."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        path.write_text(json.dumps(data, default=_spell_ellipsis), encoding="utf-8")


def _restore_ellipsis(record: dict[str, Any]) -> Any:
    return ... if record == _ELLIPSIS else record


def _spell_ellipsis(value: Any) -> dict[str, str]:
    if value is ...:
        return _ELLIPSIS
    raise TypeError(f"{type(value).__name__} is not JSON")


_ELLIPSIS = {"python": "..."}
