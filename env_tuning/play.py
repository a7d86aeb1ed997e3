"""A person in the model's place: `env-tuning play`.

Owns: what a typed line means, and what the player is shown. Refuses: rules of its own. Lines become messages of the
protocol and go through an `Episode`, so a player meets exactly what a model meets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from env_tuning.calls import CallSyntaxError, ToolCall, parse_call
from env_tuning.data.demonstrations import name_arguments
from env_tuning.environments.environment import Environment
from env_tuning.episode import Episode, Reaction, Rules
from env_tuning.prepared_task import PreparedTask
from env_tuning.protocols.base import Protocol, signature
from env_tuning.rewards.accuracy import progress
from env_tuning.task import ToolDoc
from env_tuning.trajectory import StopReason, Trajectory, TurnVerdict

Read = Callable[[], str | None]
"""Gives the next typed line, None when there are no more."""
Write = Callable[[str], None]

HELP = """\
name(arg=1)     call a tool
answer TEXT     answer the user, which closes the turn
<think>...      a whole message, as a model writes it
tools, help     show the tools, show this
quit            stop"""


def play(prepared: PreparedTask, *, read: Read, write: Write, rules: Rules | None = None) -> Trajectory:
    """Play one task to its end, or until the player stops.

    Args:
        prepared: the task.
        read: gives the player's lines.
        write: shows text to the player.
        rules: of the episode.
    """
    episode = Episode(prepared, rules)
    task = prepared.task
    write(f"{task.id}: {task.turns} turns, {len(task.tools)} tools. Type help for what you can type.")
    write(f"user> {episode.opening()[-1]['content']}")
    turn = 0
    while not episode.over:
        line = read()
        if line is None or line.strip() == "quit":
            episode.cut(StopReason.ABORTED)
            break
        documents = {tool.name: tool for tool in task.visible_tools(turn)}
        message = _message(line.strip(), prepared.protocol, documents, write)
        if message is None:
            continue
        reaction = episode.step(message)
        turn += reaction.step.closed_turn
        _show(reaction, write)
    trajectory = episode.trajectory()
    score = progress(trajectory)["score"]
    write(f"score {score:.2f}: {trajectory.correct_turns} of {trajectory.turns} turns right ({trajectory.stop.value})")
    return trajectory


def try_out(environment: Environment, documents: Mapping[str, ToolDoc], *, read: Read, write: Write) -> None:
    """Call the tools of an environment without a task: no user, no turns, no verdicts."""
    write("There is no task to play: call tools, or type tools, help or quit.")
    while (line := read()) is not None and line.strip() != "quit":
        call = _command_or_call(line.strip(), documents, write)
        if call is not None:
            write(environment.call(call).text)


def _message(line: str, protocol: Protocol, documents: Mapping[str, ToolDoc], write: Write) -> str | None:
    """The protocol message that a line stands for; None if the line is a command or no call."""
    if line.startswith("<"):
        return line
    word, _, rest = line.partition(" ")
    if word == "answer":
        return protocol.write_answer(rest)
    call = _command_or_call(line, documents, write)
    return None if call is None else protocol.write_calls([call])


def _command_or_call(line: str, documents: Mapping[str, ToolDoc], write: Write) -> ToolCall | None:
    """Obey a command; else the call that the line is, all its arguments named if the tool is known."""
    if line in ("", "help"):
        write(HELP)
        return None
    if line == "tools":
        for tool in documents.values():
            write(f"{signature(tool)}\n    {tool.description}")
        return None
    try:
        call = parse_call(line)
        if call.positional:
            if call.name not in documents:
                raise ValueError(f"there is no tool {call.name!r}, so its arguments need names")
            call = name_arguments(call, documents[call.name])
    except CallSyntaxError:
        write("That is no call such as name(arg='text', other=1). Type help for what you can type.")
        return None
    except ValueError as error:
        write(f"{error}.")
        return None
    return call


def _show(reaction: Reaction, write: Write) -> None:
    if reaction.verdict is not None:
        write(_verdict(reaction.verdict))
    if reaction.content:
        speaker = "user" if reaction.verdict else reaction.step.outcome.value
        write(f"{speaker}> {reaction.content}")


def _verdict(verdict: TurnVerdict) -> str:
    number = verdict.turn + 1
    if verdict.correct:
        return f"turn {number} is right"
    lines = [f"turn {number} is wrong: {verdict.failure.value if verdict.failure else 'unknown'}"]
    lines += [f"    the state of {name} differs from the reference" for name in verdict.mismatched_classes]
    lines += [f"    never seen: {response[:200]}" for response in verdict.missing_responses]
    return "\n".join(lines)
