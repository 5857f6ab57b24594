"""Storage: the catalog in DuckDB, the tensors in Lance, and the protocol between them."""
