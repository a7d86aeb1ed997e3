"""The data room: from the pinned benchmark wheel to tasks and parquet files (docs/data.md)."""
