"""Helpers shared by Sentinel's tests."""
