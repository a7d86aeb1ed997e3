"""Tasks as rows, by the name that a user types.

Owns: finding the tasks and what they need. Refuses: mixing (`mixing.py`), playing tasks (`convert.py`).
"""

from __future__ import annotations

from pathlib import Path

from env_tuning.data.lookup import find_tasks, padding_for
from env_tuning.data.rows import load_tasks
from env_tuning.errors import UserError
from env_tuning.protocols import ToolListing, protocol
from env_tuning.sft.conversations import Conversation
from env_tuning.sft.convert import conversations_of
from env_tuning.working_folder import import_from_here


def task_rows(name: str, *, variants: int, listing: str, protocol_name: str, seed: int) -> list[Conversation]:
    """The ground truth of tasks as rows.

    Args:
        name: a parquet file that ``env-tuning prepare`` or ``rows`` wrote, or a class with scenarios
            (``garage:Garage``).
        variants: rows per task.
        listing: ``json`` or ``signatures``.
        protocol_name: how messages are written.
        seed: of the wording.

    Raises:
        UserError: there are no such tasks.
    """
    try:
        shown = ToolListing(listing)
    except ValueError:
        raise UserError(f"--tool-listing {listing}: it must be json or signatures") from None
    file = Path(name)
    if file.suffix == ".parquet":
        tasks = tuple(load_tasks(file))
        data = file.parents[1] if len(file.parents) > 1 else file.parent
    elif ":" in name:
        import_from_here()
        data = Path("processed_data")
        tasks = find_tasks(name, data)
    else:
        # A benchmark's class or task id would bring its test tasks in.
        raise UserError(f"--tasks {name}: give a parquet file of training tasks or a class such as garage:Garage")
    if not tasks:
        raise UserError(f"{name} has no tasks to convert")
    return conversations_of(
        tasks,
        variants=variants,
        listing=shown,
        protocol=protocol(protocol_name),
        long_context=padding_for(tasks, data),
        seed=seed,
    )
