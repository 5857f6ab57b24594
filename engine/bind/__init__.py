"""The binder: a statement's tree to a logical plan whose every name is resolved."""
