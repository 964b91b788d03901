"""Video: generate, synchronise, encode and adapt frames."""
