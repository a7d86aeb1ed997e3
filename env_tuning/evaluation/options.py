"""Options that several commands of `env-tuning eval` take, and the model that they name.

Owns: their names, words and defaults. Refuses: logic of the commands.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from env_tuning.errors import UserError

if TYPE_CHECKING:
    from env_tuning.evaluation.models import Model
    from env_tuning.evaluation.settings import Mode, Settings

T = TypeVar("T", bound=enum.Enum)

ModelName = Annotated[
    str, typer.Option(help="A Hugging Face folder, a checkpoint or a finished stage; with --base-url its name.")
]
BaseUrl = Annotated[str, typer.Option(help="An OpenAI-compatible endpoint, up to /v1.")]
Output = Annotated[Path, typer.Option(help="Folder to write, or to go on with.")]
ModeName = Annotated[str, typer.Option(help="prompt: calls in the protocol's words; native: tool_calls.")]
ProtocolName = Annotated[str, typer.Option(help="How messages are written in prompt mode.")]
Listing = Annotated[str, typer.Option(help="Tools in the prompt: json or signatures.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.", min=0)]
Seed = Annotated[int, typer.Option(help="Of draws at a temperature above 0.", min=0)]
MaxTokens = Annotated[int, typer.Option(help="Of one message, thoughts included.", min=1)]
Concurrency = Annotated[int, typer.Option(help="Episodes at a time.", min=1)]
KeyVariable = Annotated[
    str, typer.Option(help="The environment variable that holds the key; the key itself is never an argument.")
]
Timeout = Annotated[float, typer.Option(help="Seconds for one request.", min=0.01)]
Tries = Annotated[int, typer.Option(help="Of a request that fails by time, rate limit or server.", min=1)]
Context = Annotated[int | None, typer.Option(help="A checkpoint's context in tokens; its own if absent.")]
Threads = Annotated[int, typer.Option(help="Threads of torch's operators, for a checkpoint.", min=1)]
Prepared = Annotated[Path, typer.Option(help="Folder that env-tuning prepare wrote.")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The model that a command's options name."""

    model: str
    base_url: str
    mode: str
    key_variable: str
    timeout: float
    tries: int
    context: int | None
    threads: int

    def mode_of_calls(self) -> Mode:
        """How calls are written.

        Raises:
            UserError: the options name no model, or a mode that it does not have.
        """
        from env_tuning.evaluation.settings import Mode

        chosen = one_of(Mode, self.mode, "--mode")
        if not self.model and not self.base_url:
            raise UserError("what to evaluate? Give --model FOLDER, or --base-url URL and the --model there")
        if chosen is Mode.NATIVE and not self.base_url:
            raise UserError("--mode native needs --base-url: a checkpoint is asked in the words of a protocol")
        return chosen

    def open(self, settings: Settings) -> Model:
        """The model, not asked yet.

        Raises:
            UserError: there is none in the folder.
        """
        from env_tuning.endpoint.client import Endpoint
        from env_tuning.evaluation.models import CheckpointModel, EndpointModel
        from env_tuning.evaluation.sources import find_model

        if not self.base_url:
            folder = find_model(Path(self.model).expanduser())
            return CheckpointModel(folder, context=self.context, threads=self.threads)
        endpoint = Endpoint(
            base_url=self.base_url,
            model=self.model,
            key=os.environ.get(self.key_variable, "").strip(),
            timeout=self.timeout,
            tries=self.tries,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
        )
        return EndpointModel(endpoint)


def one_of(kind: type[T], name: str, option: str) -> T:
    """The member of an enum with a value; `UserError` names the option and lists them."""
    values = [str(member.value) for member in kind]
    if name not in values:
        raise UserError(f"{option} {name}: known are {', '.join(values)}")
    return kind(name)
