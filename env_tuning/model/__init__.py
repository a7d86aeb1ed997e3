"""The embedded default model: tokenizer, configuration, warm start, cache."""
