"""Commands that measure the product: what it costs, how it holds up, and how it looks."""

from orchestrator.core.child_environment import use_single_threads

use_single_threads()  # before numpy is imported
