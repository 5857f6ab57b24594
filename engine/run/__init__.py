"""The executor: plans to results."""
