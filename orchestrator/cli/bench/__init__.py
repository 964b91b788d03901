"""`lipsync bench`: load, capacity search and report."""
