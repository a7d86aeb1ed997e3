"""`env-tuning infer`: sample prompts, prompts of one's own, or a conversation.

Owns: arguments, sample prompts, reading and printing lines. Refuses: conversations (`dialogue.py`), writing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from env_tuning.errors import UserError
from env_tuning.working_folder import import_from_here

if TYPE_CHECKING:
    from env_tuning.environments.tool_class import ToolClass
    from env_tuning.sft.dialogue import Dialogue, Run
    from env_tuning.sft.evaluation import Speaker

SAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "assistant": (
            "Set a timer for 10 minutes",
            "Remind me to water the plants at 6 pm",
            "Set 3 timers: 5 minutes, 10 minutes and 15 minutes.",
            "Can you help me?",
        ),
        "payments": (
            "I want to pay 42 dollars with my card",
            "I can pay 60 dollars on Friday",
            "I can pay 10 dollars on Friday",
            "I lost my job and cannot pay anything",
            "Let me talk to a person",
        ),
    }
)
"""Prompts for each of the two sets of tools."""


class Backend(enum.Enum):
    """What computes."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"


def infer(
    model: Annotated[
        str, typer.Argument(help="A Hugging Face folder or hub id, a checkpoint, or a finished run.")
    ] = "outputs/sft",
    prompt: Annotated[
        list[str] | None, typer.Option(help="Ask this and print what comes; may be repeated. Sample prompts if absent.")
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Talk; the model sees all that was said. An empty line starts anew.")
    ] = False,
    tools: Annotated[
        str, typer.Option(help="What it may call: assistant, payments, or classes such as garage:Garage; '' for none.")
    ] = "assistant",
    execute: Annotated[
        bool, typer.Option("--execute", help="Run the calls and let the model read their results.")
    ] = False,
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    backend: Annotated[Backend, typer.Option(help="What computes; vllm needs a GPU.")] = Backend.TRANSFORMERS,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.", min=0)] = 0.0,
    top_p: Annotated[float, typer.Option(help="The share of probability that is drawn from.", min=0.01, max=1)] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(help="The longest message.", min=1)] = 200,
) -> None:
    """Ask a model that calls tools, in the template that it was trained with."""
    from env_tuning.sft.dialogue import Dialogue, fresh_tools
    from env_tuning.sft.transcript import tools_of

    if prompt and interactive:
        raise UserError("give --prompt or --interactive, not both")
    import_from_here()
    names = [name for name in tools.split(",") if name]
    classes = _classes(names)
    prompts = prompt or [sample for name in names for sample in SAMPLES.get(name, ())]
    if not prompts and not interactive:
        raise UserError(f"there are no sample prompts for --tools {tools!r}; give --prompt or --interactive")
    speaker = _speaker(model, backend, temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)

    def begin() -> Dialogue:
        run: Run = fresh_tools(classes) if execute else _typed if interactive else _no_result
        return Dialogue(speaker, tools_of(classes), run=run, system=system)

    if interactive:
        _talk(begin, results=execute)
        return
    for text in prompts:
        typer.echo(f"user> {text}")
        _show_turn(begin(), text, results=execute)


def _talk(begin: Callable[[], Dialogue], *, results: bool) -> None:
    typer.echo("An empty line starts a new conversation; end with Ctrl-D.")
    dialogue = begin()
    while (line := _line("user> ")) is not None:
        if not line.strip():
            dialogue = begin()
            typer.echo("(new conversation)")
            continue
        _show_turn(dialogue, line.strip(), results=results)


def _show_turn(dialogue: Dialogue, text: str, *, results: bool) -> None:
    """Print a turn as it happens; results that were typed stand on the screen already."""
    from env_tuning.sft.dialogue import shown

    for message in dialogue.say(text):
        if results or message["role"] != "tool":
            typer.echo(shown(message))


def _classes(names: list[str]) -> tuple[type[ToolClass], ...]:
    from env_tuning.environments.registry import tool_class
    from env_tuning.sft.mixing import DOMAINS

    found = [kind for name in names for kind in (DOMAINS[name].classes if name in DOMAINS else (tool_class(name),))]
    return tuple(dict.fromkeys(found))


def _speaker(model: str, backend: Backend, *, temperature: float, top_p: float, max_new_tokens: int) -> Speaker:
    from env_tuning.evaluation.sources import find_model_or_id

    path = find_model_or_id(model)
    if backend is Backend.VLLM:
        from env_tuning.sft.vllm_writer import VllmWriter

        return VllmWriter.load(path, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    from env_tuning.sft.generation import Writer

    return Writer.load(path, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)


def _line(before: str) -> str | None:
    try:
        return input(before)
    except EOFError:
        typer.echo("")
        return None


def _typed(call: object) -> str | None:
    """Without --execute, the person says what a call gave."""
    return _line("result> ")


def _no_result(call: object) -> str | None:
    return None
