"""OpenAI-compatible endpoints, as a client: `client` asks, and knows nothing of what is asked."""
