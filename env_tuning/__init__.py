"""Environment Tuning for verl: multi-turn tool environments that teach.

This top level imports nothing heavy: `import env_tuning` must stay under 100 ms and never load
verl, torch, ray or transformers. Import the room you need, for example `env_tuning.episode`.
"""

__version__ = "0.1.0"
