"""A store of each format, as it was written, and what each must hold when it is opened today."""
