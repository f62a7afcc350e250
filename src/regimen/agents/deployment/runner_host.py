"""The process of a runner: it opens the file of the runner and that of the policy, and answers with targets.

It is started by its path, apart from this project: `regimen` and `torch` cannot be imported in it. Lines of JSON: first
the two paths; then `{"sensors": {…}, "begins": bool}` for each step. Answers: `{"sensors": […]}`, then `{"targets",
"actions", "seconds"}`, or `{"error": …}`.
"""

import importlib.util
import json
import os
import sys
import time

BARRED = ("regimen", "torch")


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    sys.modules.update(dict.fromkeys(BARRED))  # type: ignore[arg-type]  # an import of them fails
    sys.dont_write_bytecode = True  # nothing is left beside the runner

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        import numpy as np

        first = json.loads(sys.stdin.readline())
        spec = importlib.util.spec_from_file_location("runner", first["runner"])
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        runner = module.Runner(first["policy"])
        answer(sensors=list(runner.sensors))
        for line in sys.stdin:
            request = json.loads(line)
            sensors = {name: np.array(values, np.float32) for name, values in request["sensors"].items()}
            if request["begins"]:
                runner.reset()
            began = time.perf_counter()
            targets = runner.step(sensors)
            seconds = time.perf_counter() - began
            answer(targets=targets.tolist(), actions=runner.actions.tolist(), seconds=seconds)
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
