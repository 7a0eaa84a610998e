"""The deep tests use the server and the workers of the shipped tests."""

from tests.test_postgres import database, dsn, operations, server, two_workers

__all__ = ["database", "dsn", "operations", "server", "two_workers"]
