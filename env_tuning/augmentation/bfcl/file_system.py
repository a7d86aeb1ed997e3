"""Hints of GorillaFileSystem: names instead of paths, one directory at a time, files told apart from directories."""

from __future__ import annotations

from collections.abc import Callable

from env_tuning.augmentation.rules import ErrorCategory, Failure, HintKind, HintRule

_MISSING = r": No such file or directory"
_READERS = ("cat", "wc", "sort", "grep", "tail")


def _has(character: str, *parameters: str) -> Callable[[Failure], bool]:
    """Whether one of the text arguments contains a character."""

    def check(failure: Failure) -> bool:
        values = (failure.arguments.get(parameter) for parameter in parameters)
        return any(isinstance(value, str) and character in value for value in values)

    return check


_ELSEWHERE = "Give only a name, without slashes: this tool works in the current directory. Go to the right one first."
_LOOK = "Look at what is there with a tool that lists the current directory, and check the spelling."

RULES = (
    HintRule(
        name="file_system.cd.path",
        tools=("cd",),
        pattern=r"Unsupported path",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Go one level at a time: down by the name of a directory in the current one, or up to its parent.",
    ),
    HintRule(
        name="file_system.cd.at_root",
        tools=("cd",),
        pattern=r"already the root",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="There is nothing above the current directory. List what it holds and go on from here.",
    ),
    HintRule(
        name="file_system.cd.missing",
        tools=("cd",),
        pattern=_MISSING,
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The current directory holds no directory of that name; a file does not count. You may be in it already, "
        f"or it is beside or above you. {_LOOK}",
    ),
    HintRule(
        name="file_system.new.path",
        tools=("mkdir", "touch"),
        pattern=r"Invalid character",
        when=_has("/", "dir_name", "file_name"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Give only the new name, without slashes: it is made in the current directory. Go to the right one first.",
    ),
    HintRule(
        name="file_system.name.path",
        tools=("echo", "cat"),
        pattern=r"Invalid character",
        when=_has("/", "file_name"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=_ELSEWHERE,
    ),
    HintRule(
        name="file_system.name.characters",
        tools=("mkdir", "touch", "echo", "cat"),
        pattern=r"Invalid character",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=r"""A name must not contain any of | / \ ? % * : " > < and stands for one entry; patterns do not work.""",
    ),
    HintRule(
        name="file_system.new.taken",
        tools=("mkdir", "touch"),
        pattern=r"File exists",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The current directory already has an entry of that name, a file or a directory. Use the one that is "
        "there, or check that you are in the right place.",
    ),
    HintRule(
        name="file_system.echo.missing",
        tools=("echo",),
        pattern=r"No such file",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Text can be written only to a file that is in the current directory already. If it is meant to be new, "
        "make an empty file first; otherwise go to where it is.",
    ),
    HintRule(
        name="file_system.echo.directory",
        tools=("echo",),
        pattern=r"'Directory' object has no attribute",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="That name is a directory, and text can be written to files only. Name the file itself.",
    ),
    HintRule(
        name="file_system.cat.directory",
        tools=("cat",),
        pattern=r"Is a directory",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="That name is a directory, which has no text. Go into it and list it to see its files.",
    ),
    HintRule(
        name="file_system.find.parent",
        tools=("find",),
        pattern=_MISSING,
        when=_has("..", "path"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This search does not understand .. in its path. Start it at the current directory or below, or go up "
        "first.",
    ),
    HintRule(
        name="file_system.find.missing",
        tools=("find",),
        pattern=_MISSING,
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The path says where to start and must lead to a directory, from the current one or, with a leading "
        "slash, from the root. What you search for belongs into the other parameter.",
    ),
    HintRule(
        name="file_system.wc.mode",
        tools=("wc",),
        pattern=r"invalid mode",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The mode is one small letter, the first of what is counted: lines, words or characters.",
    ),
    HintRule(
        name="file_system.read.path",
        tools=_READERS,
        pattern=_MISSING,
        when=_has("/", "file_name"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=_ELSEWHERE,
    ),
    HintRule(
        name="file_system.read.missing",
        tools=_READERS,
        pattern=_MISSING,
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text=f"The current directory holds no file of that name; a directory does not count. {_LOOK}",
    ),
    HintRule(
        name="file_system.diff.path",
        tools=("diff",),
        pattern=_MISSING,
        when=_has("/", "file_name1", "file_name2"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Give two names without slashes: both files have to be in the current directory. Bring them together, or "
        "go to where they are.",
    ),
    HintRule(
        name="file_system.diff.missing",
        tools=("diff",),
        pattern=_MISSING,
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Both names have to be files, not directories, in the current directory, and at least one is not. List "
        "it to see which one.",
    ),
    HintRule(
        name="file_system.transfer.source_path",
        tools=("mv", "cp"),
        pattern=_MISSING,
        when=_has("/", "source"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The source is a name in the current directory, without slashes. Go to the directory that holds it first.",
    ),
    HintRule(
        name="file_system.transfer.source_missing",
        tools=("mv", "cp"),
        pattern=_MISSING,
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text=f"The current directory holds nothing of the source's name. {_LOOK}",
    ),
    HintRule(
        name="file_system.transfer.destination_path",
        tools=("mv", "cp"),
        pattern=r"path not allowed in destination",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The destination is one name in the current directory: of a directory to put it into, or a new name. To "
        "get further, or to rename on the way, do it in several calls.",
    ),
    HintRule(
        name="file_system.transfer.onto_file",
        tools=("mv", "cp"),
        pattern=r"Not a directory",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="A file of the destination's name is already there, and nothing is overwritten. Name a directory, or a "
        "name that is free.",
    ),
    HintRule(
        name="file_system.transfer.taken",
        tools=("mv", "cp"),
        pattern=r"File exists|already exists in directory",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The destination directory already has an entry of that name, and nothing is overwritten. Check whether "
        "the work is done already, or make room first.",
    ),
    HintRule(
        name="file_system.remove.path",
        tools=("rm", "rmdir"),
        pattern=_MISSING,
        when=_has("/", "file_name", "dir_name"),
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Only entries of the current directory can be removed, by their bare name without slashes. Go to the "
        "directory that holds it first.",
    ),
    HintRule(
        name="file_system.remove.missing",
        tools=("rm", "rmdir"),
        pattern=_MISSING,
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text=f"The current directory holds nothing of that name. {_LOOK}",
    ),
    HintRule(
        name="file_system.rmdir.file",
        tools=("rmdir",),
        pattern=r"Not a directory",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="That name is a file, and this tool removes directories only. Use one that removes files.",
    ),
    HintRule(
        name="file_system.rmdir.not_empty",
        tools=("rmdir",),
        pattern=r"Directory not empty",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Only an empty directory can be removed this way. Go into it, take out what it holds, hidden entries "
        "too, and come back.",
    ),
    HintRule(
        name="file_system.cycle",
        tools=("find", "du"),
        pattern=r"maximum recursion depth",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="A directory below contains a copy of itself, so this walk never ends. Remove that copy, or work in a "
        "directory that is not above it.",
    ),
    HintRule(
        name="file_system.content",
        tools=("wc", "sort", "grep", "du", "tail", "find"),
        pattern=r"object has no attribute '(?:splitlines|split|encode)'",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="The file holds something that is no text, because it was written as a number or a list. Write its "
        "content again as text in quotes.",
    ),
)
