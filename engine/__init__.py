"""The engine: binds, plans and runs MemQL statements."""
