"""SQLAlchemy's own tests of a dialect, to be run as `test_suite.py` runs them."""

from sqlalchemy.testing.suite import *  # noqa: F403
