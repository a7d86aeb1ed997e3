"""Ground truth of tasks as rows: the words of an episode, ready to be rendered."""

import pytest

from env_tuning.data.demonstrations import Pacing, demonstration
from env_tuning.errors import UserError
from env_tuning.protocols import ToolListing
from env_tuning.sft.convert import conversations_of
from env_tuning.sft.sources import task_rows


def test_rows_are_the_messages_that_the_agent_loop_shows(tasks):
    task = tasks["multi_turn_base_0"]
    (row,) = conversations_of([task], listing=ToolListing.SIGNATURES)
    assert list(row.messages) == demonstration(task, pacing=Pacing.MIXED, listing=ToolListing.SIGNATURES, seed=1)
    assert row.tools == () and row.domain == task.split and row.messages[-1]["role"] == "assistant"


def test_variants_of_a_task_share_the_request_so_that_splits_keep_them_together(tasks):
    rows = conversations_of([tasks["multi_turn_base_0"]], variants=3)
    assert len({row.request for row in rows}) == 1 and len({repr(row.messages) for row in rows}) > 1


def test_a_name_that_would_bring_test_tasks_in_is_refused():
    with pytest.raises(UserError, match="parquet file of training tasks"):
        task_rows("TicketAPI", variants=1, listing="json", protocol_name="think_answer", seed=1)
