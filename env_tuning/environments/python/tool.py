"""`PythonTool`: programs as a tool call.

Owns: the one tool, its settings, and the choice of a backend. Refuses: running anything in this process.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from env_tuning.environments.python.bounds import Bounds, Ending, Run
from env_tuning.environments.python.local import local_sandbox
from env_tuning.environments.python.monty import MontySession
from env_tuning.environments.python.remote import RemoteSession
from env_tuning.environments.tool_class import ToolClass
from env_tuning.errors import refuse_unknown


class Session(Protocol):
    """Where the programs of one episode run."""

    def run(self, code: str) -> Run:
        """Run a program."""
        ...

    def close(self) -> None:
        """End whatever runs, and forget the variables."""
        ...


class Backend(enum.Enum):
    """`backend` of the tool's configuration."""

    LOCAL = "local"
    """Confined processes of this machine, with numpy and sympy (`local.py`)."""
    MONTY = "monty"
    """An interpreter of a part of Python that knows neither files nor packages (`monty.py`)."""
    HTTP = "http"
    """A SandboxFusion server (`remote.py`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PythonSettings:
    """The tool's configuration.

    Attributes:
        backend: where programs run.
        kept: variables last from call to call of an episode.
        concurrency: programs at once in this process; None: as many as cores (32 requests over HTTP).
        url: of the server, for the backend http.
        bounds: limits of each program; its fields stand beside the other keys.
    """

    backend: Backend = Backend.LOCAL
    kept: bool = False
    concurrency: int | None = None
    url: str = ""
    bounds: Bounds = dataclasses.field(default_factory=Bounds)

    def __post_init__(self) -> None:
        """Reject what a backend cannot do."""
        if self.backend is Backend.HTTP and self.kept:
            raise ValueError("PythonTool: kept=true needs the backend local or monty; over HTTP nothing is kept")

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> PythonSettings:
        """Read a configuration.

        Raises:
            ValueError: an unknown key, or a value that cannot be.
        """
        return _read(tuple(sorted(config.items())))

    def open(self) -> Session:
        """A session of an episode; nothing is started before its first program."""
        if self.backend is Backend.LOCAL:
            return local_sandbox(self.concurrency).interpreter(self.bounds, kept=self.kept)
        if self.backend is Backend.MONTY:
            return MontySession(self.bounds, kept=self.kept, concurrency=self.concurrency)
        return RemoteSession(self.url, self.bounds, concurrency=self.concurrency or 32)


_BOUNDS = tuple(field.name for field in dataclasses.fields(Bounds))
_OTHERS = tuple(field.name for field in dataclasses.fields(PythonSettings) if field.name != "bounds")


@functools.lru_cache(maxsize=64)
def _read(items: tuple[tuple[str, Any], ...]) -> PythonSettings:
    config = dict(items)
    refuse_unknown("PythonTool", config, (*_OTHERS, *_BOUNDS))
    bounds = Bounds(**{name: config[name] for name in _BOUNDS if name in config})
    others = {name: config[name] for name in _OTHERS if name in config}
    return PythonSettings(**{**others, "backend": Backend(config.get("backend", Backend.LOCAL.value))}, bounds=bounds)


class ProgramFailed(Exception):
    """A program did not come to its end; the text is what it printed, and why."""


class PythonTool(ToolClass):
    """A Python interpreter. It has no state that a judge compares."""

    waits: ClassVar[bool] = True

    def __init__(self, config: dict[str, Any]) -> None:
        """Read the settings; nothing is started."""
        self._settings = PythonSettings.read(config)
        self._session: Session | None = None

    def python(self, code: str) -> str:
        """Run a Python program and return what it prints.

        math, numpy and sympy can be imported. There are no files and no network.

        Args:
            code: the program. The value of a last line that is an expression is printed, too.
        """
        if not isinstance(code, str):
            raise TypeError("code must be a string")
        if self._session is None:
            self._session = self._settings.open()
        run = self._session.run(code)
        text = run.text(kept=self._settings.kept)
        if run.ending is not Ending.OK:
            raise ProgramFailed(text)
        return text

    def end_episode(self) -> None:
        """End the interpreter."""
        if self._session is not None:
            self._session.close()
            self._session = None
