"""A small file system: a tree of directories and files with one current directory.

At parity with GorillaFileSystem of bfcl_eval 2026.3.23. Quirks that are kept on purpose:

- `cd` and the like take one name, `find` takes a path; ``..`` works in `cd` alone, and answers ``{}``.
- The current directory is not compared; neither are a directory's parent and the order of entries.
- A moved or copied directory is a new object, but the directories inside it keep their old parent, so `cd` into
  one and `pwd` shows the old place. `cp` is shallow: files further down are shared, and `echo` changes both.
- `cp` onto a name that the destination already has raises, where `mv` answers with an error.
- `mv`, unlike `mkdir`, allows any name without a slash. An entry named ``.`` resolves to the current directory.
- `echo` writes whatever value it is given; later tools raise on content that is no text.
- A directory copied into itself is a cycle: `find` and `du` then fail with Python's recursion error.

Directories can share what they hold, so a small graph can have exponentially many paths. Walks, the number of entries
and the length of names are limited (`limits.py`); comparing and copying take every directory once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from env_tuning.environments import limits
from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_FORBIDDEN = '|/\\?%*:"><'

# The benchmark recurses until Python stops it. The sentence Python then uses depends on its version and on what the
# innermost frame was doing; for `du` before Python 3.12 even on the caller's stack depth, and ours is the usual one.
_FIND_CYCLE = "maximum recursion depth exceeded"
if sys.version_info < (3, 12):
    _FIND_CYCLE += " while calling a Python object"
_DU_CYCLE = "maximum recursion depth exceeded"


@dataclass(eq=False, slots=True)
class File:
    """The content of a file; its name is the key in the directory that holds it."""

    content: Any


class Directory:
    """Named entries, and the directory in which this one was made."""

    __slots__ = ("contents", "name", "parent")

    def __init__(self, name: str, parent: Directory | None = None) -> None:
        self.name = name
        self.parent = parent
        self.contents: dict[str, Entry] = {}

    def get(self, name: str) -> Entry | None:
        """The entry of that name; ``.`` is always this directory."""
        return self if name == "." else self.contents.get(name)

    def add_file(self, name: str, content: Any = "") -> None:
        """Make a file; the name must be free."""
        if name in self.contents:
            raise ValueError(f"File '{name}' already exists in directory '{self.name}'.")
        self.contents[name] = File(content)

    def add_directory(self, name: str) -> Directory:
        """Make an empty directory; the name must be free."""
        if name in self.contents:
            raise ValueError(f"Directory '{name}' already exists in directory '{self.name}'.")
        directory = Directory(name, self)
        self.contents[name] = directory
        return directory


Entry: TypeAlias = File | Directory


class GorillaFileSystem(ToolClass):
    """A tree of directories and files, and the current directory."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Build the tree from the first root of the config; without one the root is an empty ``/``.

        With long context, file contents are extended and the innermost directories filled with empty files.
        """
        self.long_context = long_context is not None
        self.root = Directory("/")
        if "root" in config:
            name = list(config["root"])[0]  # noqa: RUF015 (an empty root raises an IndexError, as it always did)
            self.root = Directory(name)
            _load(config["root"][name]["contents"], self.root, long_context)
        self._current_dir = self.root
        self._entries_left = limits.TREE_ENTRIES

    def pwd(self) -> dict[str, Any]:
        """Show the path of the current directory, the root's name included."""
        names = []
        directory: Directory | None = self._current_dir
        while directory is not None:
            names.append(directory.name)
            directory = directory.parent
        return {"current_working_directory": "/" + "/".join(reversed(names))}

    def ls(self, a: bool = False) -> dict[str, Any]:
        """List the current directory; with `a`, hidden entries too."""
        names = list(self._current_dir.contents)
        if not a:
            names = [name for name in names if not name.startswith(".")]
        return {"current_directory_content": names}

    def cd(self, folder: str) -> dict[str, Any]:
        """Go to a directory in the current one, to its parent (``..``) or to the root (``/``)."""
        folder = folder.rstrip("/") or "/"
        if "/" in folder and folder != "/":
            return {"error": f"cd: {folder}: Unsupported path. Only one folder level at a time is supported."}
        if folder == "..":
            if self._current_dir.parent is None:
                return {"error": "Current directory is already the root. Cannot go back."}
            self._current_dir = self._current_dir.parent
            return {}
        directory = self._navigate(folder)
        if directory is None:
            return {"error": f"cd: '{folder}': No such file or directory"}
        self._current_dir = directory
        return {"current_working_directory": directory.name}

    def mkdir(self, dir_name: str) -> dict[str, Any] | None:
        """Make a directory in the current one."""
        if not _is_valid_name(dir_name):
            return {"error": f"mkdir: cannot create directory '{dir_name}': Invalid character"}
        if dir_name in self._current_dir.contents:
            return {"error": f"mkdir: cannot create directory '{dir_name}': File exists"}
        self._admit(dir_name, entries=1)
        self._current_dir.add_directory(dir_name)
        return None

    def touch(self, file_name: str) -> dict[str, Any] | None:
        """Make an empty file in the current directory."""
        if not _is_valid_name(file_name):
            return {"error": f"touch: cannot touch '{file_name}': Invalid character"}
        if file_name in self._current_dir.contents:
            return {"error": f"touch: cannot touch '{file_name}': File exists"}
        self._admit(file_name, entries=1)
        self._current_dir.add_file(file_name)
        return None

    def echo(self, content: str, file_name: str | None = None) -> dict[str, Any] | None:
        """Replace the content of an existing file; without a file name, show the content."""
        if file_name is None:
            return {"terminal_output": content}
        if not _is_valid_name(file_name):
            return {"error": f"echo: cannot write to '{file_name}': Invalid character"}
        if not file_name:
            return {"terminal_output": content}
        entry = self._entry(file_name)
        if entry is None:
            return {"error": f"echo: cannot write to '{file_name}': No such file"}
        if isinstance(entry, Directory):
            # The text of what goes wrong in the benchmark, where nothing checks for a directory.
            raise AttributeError("'Directory' object has no attribute '_write'")
        entry.content = content
        return None

    def cat(self, file_name: str) -> dict[str, Any]:
        """Show the content of a file in the current directory."""
        if not _is_valid_name(file_name):
            return {"error": f"cat: '{file_name}': Invalid character"}
        entry = self._entry(file_name)
        if entry is None:
            return {"error": f"cat: '{file_name}': No such file or directory"}
        if isinstance(entry, Directory):
            return {"error": f"cat: '{file_name}': Is a directory"}
        return {"file_content": entry.content}

    def find(self, path: str = ".", name: str | None = None) -> dict[str, Any]:
        """List the paths of everything under a directory whose name contains `name`."""
        directory = self._navigate(path)
        if directory is None:
            return {"error": f"find: '{path}': No such file or directory"}
        below = _walk(directory, path.rstrip("/"), _FIND_CYCLE)
        return {"matches": [place for place, entry_name, _ in below if name is None or name in entry_name]}

    def wc(self, file_name: str, mode: str = "l") -> dict[str, Any]:
        """Count the lines (l), words (w) or characters (c) of a file."""
        if mode not in ("l", "w", "c"):
            return {"error": f"wc: invalid mode '{mode}'"}
        file = self._file(file_name)
        if file is None:
            return {"error": f"wc: {file_name}: No such file or directory"}
        if mode == "l":
            return {"count": len(file.content.splitlines()), "type": "lines"}
        if mode == "w":
            return {"count": len(file.content.split()), "type": "words"}
        return {"count": len(file.content), "type": "characters"}

    def sort(self, file_name: str) -> dict[str, Any]:
        """Show the lines of a file in order; the file stays as it is."""
        file = self._file(file_name)
        if file is None:
            return {"error": f"sort: {file_name}: No such file or directory"}
        return {"sorted_content": "\n".join(sorted(file.content.splitlines()))}

    def grep(self, file_name: str, pattern: str) -> dict[str, Any]:
        """List the lines of a file that contain a text."""
        file = self._file(file_name)
        if file is None:
            return {"error": f"grep: {file_name}: No such file or directory"}
        return {"matching_lines": [line for line in file.content.splitlines() if pattern in line]}

    def du(self, human_readable: bool = False) -> dict[str, Any]:
        """Add up the bytes of all files under the current directory."""
        size: float = 0
        for _, _, entry in _walk(self._current_dir, "", _DU_CYCLE):
            if isinstance(entry, File):
                size += len(entry.content.encode("utf-8"))
                if size > limits.TREE_CHARACTERS:
                    raise limits.CostError(f"more than {limits.TREE_CHARACTERS} bytes to count")
        return {"disk_usage": _human_readable(size) if human_readable else f"{size} bytes"}

    def tail(self, file_name: str, lines: int = 10) -> dict[str, Any]:
        """Show the last lines of a file; 0 shows all of it, and -n leaves out the first n."""
        file = self._file(file_name)
        if file is None:
            return {"error": f"tail: {file_name}: No such file or directory"}
        content = file.content.splitlines()
        if lines > len(content):
            lines = len(content)
        return {"last_lines": "\n".join(content[-lines:])}

    def diff(self, file_name1: str, file_name2: str) -> dict[str, Any]:
        """Show the lines that differ between two files, up to the end of the shorter one."""
        first = self._file(file_name1)
        # A missing first file hides whatever is wrong with the second name, but a directory does not.
        second = self._file(file_name2) if file_name1 in self._current_dir.contents else None
        if first is None or second is None:
            return {"error": f"diff: {file_name1} or {file_name2}: No such file or directory"}
        pairs = zip(first.content.splitlines(), second.content.splitlines(), strict=False)
        return {"diff_lines": "\n".join(f"- {old}\n+ {new}" for old, new in pairs if old != new)}

    def mv(self, source: str, destination: str) -> dict[str, Any]:
        """Move an entry of the current directory into a directory there, or rename it."""
        return self._transfer(source, destination, copy=False)

    def rm(self, file_name: str) -> dict[str, Any]:
        """Remove a file, or a directory with all it holds."""
        if file_name not in self._current_dir.contents:
            return {"error": f"rm: cannot remove '{file_name}': No such file or directory"}
        del self._current_dir.contents[file_name]
        return {"result": f"'{file_name}' removed"}

    def rmdir(self, dir_name: str) -> dict[str, Any]:
        """Remove an empty directory."""
        entry = self._entry(dir_name)
        if entry is None:
            return {"error": f"rmdir: cannot remove '{dir_name}': No such file or directory"}
        if isinstance(entry, File):
            return {"error": f"rmdir: cannot remove '{dir_name}': Not a directory"}
        if entry.contents:
            return {"error": f"rmdir: cannot remove '{dir_name}': Directory not empty"}
        del self._current_dir.contents[dir_name]
        return {"result": f"'{dir_name}' removed"}

    def cp(self, source: str, destination: str) -> dict[str, Any]:
        """Copy an entry of the current directory into a directory there, or to a new name."""
        return self._transfer(source, destination, copy=True)

    def snapshot(self) -> dict[str, Any]:
        """An independent copy of the tree."""
        return {**self.public_state(), "root": _copy(self.root)}

    def matches(self, snapshot: dict[str, Any]) -> bool:
        """Whether both trees hold the same names and contents."""
        return bool(self.long_context == snapshot["long_context"]) and _same(self.root, snapshot["root"])

    def describe(self) -> dict[str, Any]:
        """The tree in the form of the initial configuration.

        A directory inside itself has the type "cycle"; what is too deep or too much to show has the type "omitted".
        """
        return {"root": {self.root.name: _describe(self.root)}, "long_context": self.long_context}

    def _entry(self, name: str) -> Entry | None:
        # The lookup is not redundant: an entry named "." resolves to the directory, but only if there is one.
        return self._current_dir.get(name) if name in self._current_dir.contents else None

    def _file(self, name: str) -> File | None:
        entry = self._entry(name)
        return entry if isinstance(entry, File) else None

    def _navigate(self, path: str | None) -> Directory | None:
        if path is None or path == ".":
            return self._current_dir
        if path == "/":
            return self.root
        names = path.strip("/").split("/")
        directory = self.root if path.startswith("/") else self._current_dir
        for name in names:
            entry = directory.get(name)
            if not isinstance(entry, Directory):
                return None
            directory = entry
        return directory

    def _admit(self, name: str, *, entries: int) -> None:
        """Refuse a name that is too long, or entries that the file system has no room for."""
        if len(name) > limits.NAME_CHARACTERS:
            raise limits.CostError(f"a name of {len(name)} characters; the most is {limits.NAME_CHARACTERS}")
        if entries > self._entries_left:
            raise limits.CostError(f"the file system is full: more than {limits.TREE_ENTRIES} new entries")
        self._entries_left -= entries

    def _transfer(self, source: str, destination: str, *, copy: bool) -> dict[str, Any]:
        tool, verb, done = ("cp", "copy", "copied") if copy else ("mv", "move", "moved")
        entry = self._entry(source)
        if entry is None:
            return {"error": f"{tool}: cannot {verb} '{source}': No such file or directory"}
        if "/" in destination:
            return {"error": f"{tool}: path not allowed in destination. Provide only a file or directory name."}
        directory, name, place = self._current_dir, destination, destination
        existing = self._entry(destination)
        if isinstance(existing, File):
            return {"error": f"{tool}: cannot {verb} '{source}' to '{destination}': Not a directory"}
        if existing is not None:
            directory, name, place = existing, source, f"{destination}/{source}"
            # cp looks for the joined path, which no tool can create: a name that is taken raises further down.
            if (place if copy else name) in directory.contents:
                return {"error": f"{tool}: cannot {verb} '{source}' to '{place}': File exists"}
        copied = len(entry.contents) if isinstance(entry, Directory) else 0
        self._admit(name, entries=1 + copied if copy else 0)
        if not copy:
            del self._current_dir.contents[source]
        if isinstance(entry, File):
            directory.add_file(name, entry.content)
        else:
            new = directory.add_directory(name)
            # Read after the new directory is in place: copied into itself, a directory holds its copy's copy.
            new.contents = entry.contents.copy() if copy else entry.contents
        return {"result": f"'{source}' {done} to '{place}'"}


def _load(contents: dict[str, Any], directory: Directory, long_context: LongContext | None) -> None:
    innermost = True
    for name, data in contents.items():
        if data["type"] == "directory":
            innermost = False
            _load(data["contents"], directory.add_directory(name), long_context)
        elif data["type"] == "file":
            content = data["content"]
            if long_context is not None and name not in long_context.files_tail_used:
                content += long_context.file_content_extension
            directory.contents[name] = File(content)
    if innermost and long_context is not None:
        for name in long_context.populate_file_extension:
            directory.add_file(name)


def _is_valid_name(name: str) -> bool:
    return not any(character in name for character in _FORBIDDEN)


def _walk(directory: Directory, path: str, cycle_error: str) -> Iterator[tuple[str, str, Entry]]:
    """Path, name and entry of everything below a directory, each directory before what it holds.

    Raises:
        RecursionError: a directory is inside itself.
        CostError: there is too much below.
    """
    entries, characters = limits.TREE_ENTRIES, limits.TREE_CHARACTERS
    above = {id(directory)}
    levels = [(directory, path, iter(directory.contents.items()))]
    while levels:
        holder, place, remaining = levels[-1]
        for name, entry in remaining:
            below = f"{place}/{name}"
            entries -= 1
            characters -= len(below)
            if entries < 0 or characters < 0:
                raise limits.CostError("too many entries below the directory")
            yield below, name, entry
            if isinstance(entry, Directory):
                if id(entry) in above:
                    raise RecursionError(cycle_error)
                above.add(id(entry))
                levels.append((entry, below, iter(entry.contents.items())))
                break
        else:
            above.discard(id(holder))
            levels.pop()


def _human_readable(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def _copy(root: Directory) -> Directory:
    """A copy of a tree without parents. Every directory is copied once, so cycles and sharing stay what they are."""
    copies = {id(root): Directory(root.name)}
    pending = [root]
    while pending:
        directory = pending.pop()
        contents = copies[id(directory)].contents
        for name, entry in directory.contents.items():
            if isinstance(entry, File):
                contents[name] = File(entry.content)
                continue
            if id(entry) not in copies:
                copies[id(entry)] = Directory(entry.name)
                pending.append(entry)
            contents[name] = copies[id(entry)]
    return copies[id(root)]


def _same(ours: Directory, theirs: Directory) -> bool:
    """Whether two trees hold the same.

    Each pair of directories is compared once, as shared directories can be many paths; a pair that is met again inside
    itself counts as equal unless something else differs, so that a cycle equals its own copy. (The benchmark's
    comparison does not end on cycles. No reference solution has one.)
    """
    met: set[tuple[int, int]] = set()
    pending = [(ours, theirs)]
    while pending:
        left, right = pending.pop()
        if (id(left), id(right)) in met:
            continue
        met.add((id(left), id(right)))
        if left.name != right.name or left.contents.keys() != right.contents.keys():
            return False
        for name, entry in left.contents.items():
            other = right.contents[name]
            if isinstance(entry, Directory) and isinstance(other, Directory):
                pending.append((entry, other))
            elif not (isinstance(entry, File) and isinstance(other, File) and entry.content == other.content):
                return False
    return True


def _describe(root: Directory) -> dict[str, Any]:
    left = limits.TREE_ENTRIES

    def describe(entry: Entry, above: tuple[Entry, ...]) -> dict[str, Any]:
        nonlocal left
        left -= 1
        if isinstance(entry, File):
            return {"type": "file", "content": entry.content}
        if entry in above:
            return {"type": "cycle"}
        if left - len(entry.contents) < 0 or len(above) == limits.ARGUMENTS.depth:
            return {"type": "omitted"}
        contents = {name: describe(item, (*above, entry)) for name, item in entry.contents.items()}
        return {"type": "directory", "contents": contents}

    return describe(root, ())
