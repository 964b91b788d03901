"""Pictures become encoded frames with timestamps."""
