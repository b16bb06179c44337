"""Machines for tests: each broker in a network namespace of its own, on a net that can be cut."""
