"""Scores a folder of the package's own result files with the package's own evaluation: a JSON line per task.

`python official_scoring.py RESULT_FOLDER` prints {"id", "valid", "error_type"} for every line of
``RESULT_FOLDER/BFCL_v4_<category>_result.json``.

Run like `official_runner.py`, and for the same reason every task in a forked child. The package imports the clients of
a dozen providers before it scores anything; none is installed, and none is called here, so they are stood in for.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys
from pathlib import Path
from unittest.mock import MagicMock


class _Clients(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what the package, and nobody else, imports and cannot find."""

    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame and (frame.f_code.co_filename.startswith("<frozen") or "importlib" in frame.f_code.co_filename):
            frame = frame.f_back
        if frame is None or "bfcl_eval" not in frame.f_code.co_filename or name.startswith("bfcl_eval"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__ = spec, [], spec.name
        # What is subclassed or decorates has to be real.
        module.EnforceOverrides, module.override, module.final = type("Base", (), {}), lambda f: f, lambda f: f
        return module

    def exec_module(self, module):
        pass


sys.meta_path.append(_Clients())

from bfcl_eval.eval_checker import eval_runner  # noqa: E402
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler  # noqa: E402

DATA = Path(eval_runner.__file__).parents[1] / "data"


def records(file):
    return {record["id"]: record for record in map(json.loads, file.read_text(encoding="utf-8").splitlines())}


def score(handler, line, prompt, answer, category):
    # A name of its own for every task: instances are found by it and never reset.
    return eval_runner._evaluate_single_multi_turn_entry(
        handler, line["id"], line["result"], answer["ground_truth"], prompt, "scored", category
    )


def main():
    handler = object.__new__(OpenAICompletionsHandler)
    handler.is_fc_model = True
    for file in sorted(Path(sys.argv[1]).glob("BFCL_v4_*_result.json")):
        category = file.name[len("BFCL_v4_") : -len("_result.json")]
        prompts = records(DATA / f"BFCL_v4_{category}.json")
        answers = records(DATA / "possible_answer" / f"BFCL_v4_{category}.json")
        for id, line in records(file).items():
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                found = score(handler, line, prompts[id], answers[id], category)
                error = found.get("error", {}).get("error_type")
                print(json.dumps({"id": id, "valid": found["valid"], "error_type": error}), flush=True)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if status:
                sys.exit(f"the official package failed on {id} (status {status})")


if __name__ == "__main__":
    main()
