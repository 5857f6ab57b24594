"""The crash harness: a child works on a store and is killed, the parent reopens it and checks."""
