"""Whole jobs on networks of one's own."""
