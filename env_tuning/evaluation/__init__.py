"""Models measured by the benchmark's metric: all turns of a task right, by the benchmark's own rules.

`running` plays tasks, `card` says what came out, `compare` sets cards side by side. Models answer through `speakers`
(an endpoint) or `local` (a folder behind the rollout engine). Nothing is imported here.
"""
