"""Commands that measure the product: what it costs, how it holds up, and how it looks."""
