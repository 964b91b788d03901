"""The `lipsync` program, one module or package for each command."""
