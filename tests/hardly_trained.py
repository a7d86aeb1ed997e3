"""An embedded model of a hundred thousand weights, made in seconds: its tokenizer is good, and little else."""

from __future__ import annotations

from pathlib import Path


def hardly_trained(cache: Path, processed_data: Path) -> Path:
    """The model's folder, after four updates on the base tasks."""
    from env_tuning.model.embedded import LessonPlan, Speaker, embedded_model
    from env_tuning.model.warm_start import WarmStart

    tasks = processed_data / "bfcl_v3" / "bfcl_train_base.parquet"
    lesson = LessonPlan(speakers=[Speaker()], settings=WarmStart(steps=4, batch_size=2))
    return embedded_model(cache, tasks, size="nano", lessons=[lesson])
