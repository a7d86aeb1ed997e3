"""Checks calls with the package's own AST checker: a line of JSON in, a line of JSON out.

In: {"functions": documents, "calls": [{name: arguments}], "possible": possible answers, "category": name}. Out: whether
they are valid; null where the package's checker raises, with what.

Run like `official_scoring.py`, which imports the package without the clients of its providers.
"""

import json
import sys

import official_scoring  # noqa: F401  (stands in for the clients)
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

# A model whose function names keep their dots.
MODEL = next(name for name, config in MODEL_CONFIG_MAPPING.items() if not config.underscore_to_dot and "_" not in name)


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            found = ast_checker(
                asked["functions"], asked["calls"], asked["possible"], Language.PYTHON, asked["category"], MODEL
            )
            answer = {"valid": found["valid"], "error": found.get("error_type", "")}
        except Exception as error:  # of whatever kind: it has no handling of its own
            answer = {"valid": None, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
