"""Many episodes in one worker: all of them are in flight at once, and no tool holds up the others."""

from __future__ import annotations

import asyncio
import json
import threading
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

pytest.importorskip("verl")
import transfer_queue
from omegaconf import OmegaConf
from test_agent_loop import TOKENIZER, make_loop

from env_tuning.calls import ToolCall
from env_tuning.environments.tool_class import ToolClass
from env_tuning.protocols import Hermes
from env_tuning.verl_plugin.agent_loop import NAME
from env_tuning.verl_plugin.loop_workers import EpisodeWorker

GROUPS, MEMBERS = 128, 8
PATIENCE = 120.0
"""Seconds until what should have happened at once counts as stuck."""


class Gathering:
    """A model without latency that answers when `expected` requests wait for it, and not before."""

    def __init__(self, expected: int, texts: list[str]) -> None:
        self.expected, self.texts, self.waiting, self.most = expected, texts, 0, 0
        self.asked: dict[str, int] = {}
        self.full = asyncio.Event()

    async def generate(self, request_id: str, **_: Any) -> Any:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting == self.expected:
            self.full.set()
        await self.full.wait()
        self.waiting -= 1
        turn = self.asked[request_id] = self.asked.get(request_id, -1) + 1
        tokens = [*TOKENIZER.encode(self.texts[turn], add_special_tokens=False), TOKENIZER.eos_token_id]
        return SimpleNamespace(
            token_ids=tokens, log_probs=[-1.0] * len(tokens), stop_reason="completed", extra_fields={}
        )

    def release(self, request_id: str) -> None:
        """Nothing is kept."""


def test_a_worker_has_a_thousand_episodes_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through verl's own way from a prompt to its rollouts; only TransferQueue is left out."""
    outputs: list[Any] = []

    async def put(**_: Any) -> None:
        """What verl tells TransferQueue."""

    async def keep(output: Any, *_: Any, **__: Any) -> None:
        outputs.append(output)

    monkeypatch.setattr(transfer_queue, "async_kv_put", put)

    async def play() -> Gathering:
        server = Gathering(GROUPS * MEMBERS, ["not yet", "a", "a"])
        worker = object.__new__(EpisodeWorker)
        worker.config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"n": MEMBERS}}})
        worker.errors, worker._seed, worker._episodes = [], None, make_loop(server, response=2000)
        worker._agent_loop_postprocess = keep
        prompts = [
            worker._run_prompt(
                {
                    "uid": f"{group}",
                    "agent_name": NAME,
                    "raw_prompt": [{"role": "user", "content": f"Write {group}."}],
                    "interaction_kwargs": {"name": "toy", "letter": "a"},
                },
                {"temperature": 1.0},
                trajectory={"step": 1, "sample_index": group, "rollout_n": 0, "validate": False},
            )
            for group in range(GROUPS)
        ]
        await asyncio.wait_for(asyncio.gather(*prompts), PATIENCE)
        assert not worker.errors
        return server

    server = asyncio.run(play())
    assert server.most == GROUPS * MEMBERS
    assert len(outputs) == GROUPS * MEMBERS
    assert {output.num_turns for output in outputs} == {6}


class Meeting(ToolClass):
    """A tool that waits until as many episodes as there are are in it at once."""

    waits: ClassVar[bool] = True
    barrier: ClassVar[threading.Barrier]

    def meet(self) -> str:
        """Wait for the others."""
        self.barrier.wait(timeout=PATIENCE)
        return "all are here"


def test_a_tool_that_waits_holds_up_no_other_episode() -> None:
    episodes = 6
    Meeting.barrier = threading.Barrier(episodes)
    texts = [Hermes().write_calls([ToolCall(name="meet")]), "We met."]
    record = {"id": "meeting", "turns": ["Meet."], "tools": ["test_many_episodes:Meeting"]}
    row = {
        "raw_prompt": [],
        "data_source": "dialogue",
        "interaction_kwargs": {"name": "dialogue", "dialogue": json.dumps(record)},
    }
    interaction = {"class_name": "env_tuning.interaction.dialogue:DialogueInteraction", "config": {}}

    async def play() -> list[Any]:
        server = Gathering(episodes, texts)
        loop = make_loop(server, prompt=4000, response=4000, reward="progress", interactions={"dialogue": interaction})
        runs = [loop.run({"temperature": 1.0}, **row) for _ in range(episodes)]
        return await asyncio.wait_for(asyncio.gather(*runs), PATIENCE)

    for output in asyncio.run(play()):
        step = json.loads(output.extra_fields["trajectory_json"])["steps"][0]
        assert [call["result"] for call in step["calls"]] == ["all are here"]
