"""An environment without hints, episodes in which calls of it fail, and a stub that speaks the endpoint's protocol."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stub_server import Response, as_json, stub_server

from env_tuning.calls import ToolCall
from env_tuning.environments import Scenario, ToolClass
from env_tuning.environments.scenario import tasks_of
from env_tuning.episode import Episode
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import ThinkAnswer
from env_tuning.task import Task
from env_tuning.verl_plugin.records import EpisodeRecord

NAME = "parking:Garage"


class Garage(ToolClass):
    def __init__(self, config: dict[str, Any]) -> None:
        self.cars = list(config.get("cars", []))
        self.open = True

    def park(self, plate: str, row: int) -> dict:
        """Park a car.

        Args:
            plate: the car's number plate.
            row: where.
        """
        if row > 9:
            return {"error": f"Row {row} is closed."}
        self.cars.append(plate)
        return {"parked": len(self.cars)}

    def leave(self, plate: str) -> dict:
        """Let a car out.

        Args:
            plate: the car's number plate.
        """
        if plate not in self.cars:
            return {"error": f"{plate}: no such car."}
        self.cars.remove(plate)
        return {"parked": len(self.cars)}

    def list_cars(self) -> dict:
        """List the plates of all cars."""
        return {"cars": list(self.cars)}

    def weigh(self, plate: str) -> dict:
        """Weigh a car.

        Args:
            plate: the car's number plate.
        """
        raise ValueError("the scale is locked")

    @classmethod
    def scenarios(cls):
        yield Scenario(turns=[("Let ZX 7 out.", ["leave(plate='ZX 77')"])], config={"cars": ["ZX 77"]})
        yield Scenario(
            turns=[("Park AB 12 in row 4.", ["park(plate='AB 12', row=4)"]), ("And out again.", ["leave('AB 12')"])]
        )


def garage_tasks() -> dict[str, Task]:
    return {task.id: task for task in tasks_of(NAME)}


def dumped(task: Task, *messages: list[tuple[str, dict[str, Any]]]) -> str:
    """The line that a run dumps of an episode in which these calls are made, one list a message."""
    protocol = ThinkAnswer()
    episode = Episode(prepare_task(task, protocol=protocol))
    for calls in messages:
        episode.step(protocol.write_calls([ToolCall(name=name, arguments=given) for name, given in calls]))
    record = EpisodeRecord(
        uid="0",
        group=0,
        data_source="garage",
        score=0.0,
        numbers={},
        trained_tokens=0,
        response_tokens=0,
        trajectory=episode.trajectory().to_dict(),
    )
    return record.line(1)


def write_run(folder: Path) -> Path:
    """A run's output folder: eight failed calls at three sites, one without a tool, and a torn line."""
    first, second = garage_tasks().values()
    lines = [
        dumped(first, [("leave", {"plate": "ZX 7"})], [("leave", {"plate": "zx 77"}), ("weigh", {"plate": "ZX 77"})]),
        dumped(second, [("park", {"plate": "AB 12", "row": 12})], [("leave", {"plate": "A 1"})]),
        dumped(second, [("park", {"plate": "AB 12", "row": 40})], [("leave", {"plate": "A 2"}), ("fly", {})]),
        dumped(first, [("leave", {"plate": "QQ"})], [("leave", {"car": "QQ"})]),
    ]
    (folder / "rollouts").mkdir(parents=True)
    (folder / "rollouts" / "1.jsonl").write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    (folder / "rollouts" / "10.jsonl").write_text("\n".join(lines[2:]) + "\n" + lines[0][:200], encoding="utf-8")
    return folder


# An endpoint.

LEAVE_HINT = "Only a parked car can leave. Look up how its plate is written with a tool that shows the parked cars."


def written(**changes: Any) -> dict[str, Any]:
    """What a good writer answers."""
    return {
        "reasoning": "The plate is not that of a parked car.",
        "need_augmentation": True,
        "error_category": "dependency_missing",
        "augmentation_type": "suggest_prerequisite",
        "hint": LEAVE_HINT,
        "error_contains": [],
        "arguments": [],
        **changes,
    }


def judged(**changes: Any) -> dict[str, Any]:
    """What a content judge answers."""
    return {
        "reason": "It points to the right check.",
        "leaks_solution": False,
        "restricts_exploration": False,
        "actionable": True,
        **changes,
    }


@dataclass(frozen=True)
class Status:
    """An answer with a status of its own."""

    code: int
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def completion(content: str | None, *, refusal: str | None = None, finish: str = "stop") -> dict[str, Any]:
    return {
        "choices": [
            {"message": {"role": "assistant", "content": content, "refusal": refusal}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


@dataclass
class Stub:
    """An endpoint whose answers a function gives: an object, a whole completion, or a `Status`."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    @property
    def writers(self) -> list[str]:
        """What the writer was told, request by request."""
        return [request["messages"][1]["content"] for request in self.requests if not is_judge(request)]

    @property
    def judges(self) -> list[str]:
        return [request["messages"][1]["content"] for request in self.requests if is_judge(request)]


def is_judge(request: dict[str, Any]) -> bool:
    return "You judge a hint" in request["messages"][0]["content"]


def site_of(request: dict[str, Any]) -> str:
    """Which tool a request is about."""
    return request["messages"][1]["content"].split('"name": "')[1].split('"')[0]


@contextlib.contextmanager
def stub(answer: Callable[[dict[str, Any], int], Any], models: tuple[str, ...] = ("stub",)) -> Iterator[Stub]:
    """Serve; `answer` gets a request's body and its number, from 0."""
    lock = threading.Lock()
    served = Stub(url="")

    def respond(body: dict[str, Any], key: str | None) -> Response:
        with lock:
            number = len(served.requests)
            served.requests.append(body)
            served.keys.append(key)
        given = answer(body, number)
        if isinstance(given, Status):
            return as_json(given.code, given.body, given.headers)
        whole = isinstance(given, dict) and "choices" in given
        return as_json(200, given if whole else completion(json.dumps(given)))

    with stub_server(respond, models) as served.url:
        yield served
