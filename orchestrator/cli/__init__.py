"""What the `lipsync` program can do, a file per command."""
