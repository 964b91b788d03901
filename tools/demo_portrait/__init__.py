"""How the demo portrait was painted; not needed to run the service."""
