"""Tests of the app, its pieces and its contract."""
