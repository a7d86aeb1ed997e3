"""The CPU platform, and its registration in a fresh process by each of verl's ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")
import torch
from verl.plugin.platform import PlatformRegistry

from env_tuning.verl_plugin import cpu_platform, registration
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.main import complete
from env_tuning.verl_plugin.router import LightRouter


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_platform_names_its_device_and_never_an_index() -> None:
    platform = cpu_platform.CpuPlatform()
    assert torch.zeros(1).to(platform.current_device()).device.type == "cpu"
    assert platform.communication_backend_name() == "gloo"
    assert (platform.is_available(), platform.device_count(), platform.is_ipc_supported()) == (True, 1, False)


def test_the_device_module_answers_what_verl_asks_of_torch_devices() -> None:
    module = cpu_platform.CpuPlatform().device_module
    resident = module.memory_allocated()
    assert module.max_memory_allocated() >= resident > 0
    free, total = module.mem_get_info()
    assert 0 < free <= total
    assert module.get_device_properties(0).total_memory == total
    module.empty_cache()
    module.manual_seed(3)
    state = module.get_rng_state()
    first = torch.rand(2)
    module.set_rng_state(state)
    assert torch.equal(first, torch.rand(2))
    assert module.synchronize is torch.cpu.synchronize


def test_registering_again_changes_nothing() -> None:
    registration.register()
    registration.register()
    assert PlatformRegistry.get("cpu") is cpu_platform.CpuPlatform


def test_the_entry_point_makes_a_fresh_process_a_cpu_process() -> None:
    code = (
        "import verl\n"
        "from verl.utils.device import get_device_name\n"
        "from verl.workers.rollout.base import _ROLLOUT_REGISTRY\n"
        "assert get_device_name() == 'cpu', get_device_name()\n"
        "assert ('transformers', 'async') in _ROLLOUT_REGISTRY\n"
    )
    run = run_python(code, VERL_PLATFORM="cpu")
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_a_process_that_saw_the_package_first_is_registered_by_the_module_list() -> None:
    code = (
        "import env_tuning.verl_plugin, sys\n"
        "assert 'verl' not in sys.modules and 'torch' not in sys.modules\n"
        "import verl\n"
        "from verl.utils.device import get_device_name\n"
        "assert get_device_name() == 'cpu'\n"
    )
    names = "env_tuning.verl_plugin.registration"
    run = run_python(code, VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES=names, VERL_USE_EXTERNAL_PLUGINS="none")
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_a_broken_registration_is_loud_although_verl_swallows_it() -> None:
    code = "import sys; sys.modules['env_tuning.verl_plugin.rollout.replica'] = None; import verl"
    run = run_python(code, VERL_PLATFORM="cpu")
    assert "registering the plugin in verl failed" in run.stderr
    assert "Traceback" in run.stderr


def test_the_router_is_sticky_and_prefers_the_idle_server() -> None:
    router = LightRouter({"a": 1, "b": 2})
    assert router.acquire_server("x") == ("a", 1)
    assert router.acquire_server("y") == ("b", 2)
    router.release_server("b")
    assert router.acquire_server("z")[0] == "b"
    assert router.acquire_server("x")[0] == "a"
    router.remove_servers(["a"])
    assert router.acquire_server("x") == ("b", 2)
    router.remove_servers(["b"])
    with pytest.raises(RuntimeError, match="No available servers"):
        router.acquire_server("x")


def test_verl_makes_the_router_without_a_process_of_its_own() -> None:
    from verl.workers.rollout.router import get_router_handle

    path = Path(cpu_platform.__file__).with_name("router.yaml")
    router = get_router_handle(servers={"a": 1}, router_config_path=str(path))  # Ray does not even run
    assert isinstance(router, LightRouter)
    assert router.acquire_server("x") == ("a", 1)


@pytest.mark.parametrize(("loops", "here"), [("LocalLoops", True), ("RayLoops", False)])
def test_only_loops_of_one_process_get_the_router_of_one_process(loops: str, here: bool) -> None:
    overrides = [
        "hardware=cpu",
        "actor_rollout_ref.model.path=none",
        f"actor_rollout_ref.rollout.agent.agent_loop_manager_class=env_tuning.verl_plugin.loop_workers.{loops}",
    ]
    config = compose_config(Path(__file__).parents[2] / "configs", "stage1", overrides)
    complete(config)
    router = config.actor_rollout_ref.rollout.router_config_path
    assert Path(router).is_file() if here else router is None
