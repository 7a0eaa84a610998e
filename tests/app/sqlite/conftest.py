"""The deep tests use the file of the shipped tests."""

from tests.test_sqlite import store

__all__ = ["store"]
