"""Benchmarks of the product: its cost, its behaviour under faults, and its pictures."""

from orchestrator.core.child_environment import use_single_threads

use_single_threads()  # before numpy is imported
