"""Painter of the demo portrait; not needed to run the service."""
