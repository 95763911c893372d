"""Leases: who occupies a slot that others share. Knows no HTTP, no provider and no files."""
