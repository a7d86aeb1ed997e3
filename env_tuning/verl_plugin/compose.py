"""From a configuration folder, a name and overrides to one configuration, without importing verl.

Owns: Hydra's composition over verl's own configuration files, and errors that name the nearest key. Refuses:
checking values. Composing must not import verl, because importing verl reads the environment that the composed
configuration decides (`main.set_environment`); so verl's folder is searched as files, not as a package.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from env_tuning.errors import UserError


def compose_config(config_dir: Path, config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a stage.

    Raises:
        UserError: no such folder, file, group or key; a key without a value.
    """
    if not (config_dir / f"{config_name}.yaml").is_file():
        raise UserError(f"no {config_name}.yaml in {config_dir}; choose --config-dir and --config-name")
    with initialize_config_dir(version_base=None, config_dir=str(config_dir.resolve())):
        try:
            config = compose(config_name, overrides=[*overrides, _search_path()])
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_explain(error, config_name)) from error
    missing = sorted(key for key in OmegaConf.missing_keys(config) if key.startswith(("env_tuning.", "data.")))
    if missing:
        raise UserError(f"no value for {', '.join(missing)}: set it in {config_name}.yaml or on the command line")
    return config


def verl_config_dir() -> Path:
    """The folder of verl's configuration files.

    Raises:
        UserError: verl is not installed.
    """
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("verl is not installed; pip install verl==0.9.1")
    return Path(spec.submodule_search_locations[0]) / "trainer" / "config"


def _search_path() -> str:
    return f"hydra.searchpath=[file://{verl_config_dir()}]"


def _explain(error: Exception, config_name: str) -> str:
    """One line; for an unknown key with the nearest key that exists."""
    causes = [str(error), str(error.__cause__ or "")]
    unknown = next((found[1] for text in causes if (found := re.search(r"Could not override '([^']+)'", text))), None)
    if unknown is None:
        return " ".join(" ".join(causes).split())
    known = list(_leaves(compose(config_name, overrides=[_search_path()])))
    near = difflib.get_close_matches(unknown, known, n=1, cutoff=0.6)
    return f"unknown key {unknown}" + (f"; did you mean {near[0]}?" if near else "; new keys start with +")


def _leaves(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        path = f"{prefix}{key}"
        yield path
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            value = config[key]
            if isinstance(value, DictConfig):
                yield from _leaves(value, f"{path}.")
