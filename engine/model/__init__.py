"""Language models: identity, tokenizing, KV caches and generation."""
