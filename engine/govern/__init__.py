"""Runs the statements of governance: users, roles, grants, policies."""
