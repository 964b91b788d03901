"""Draws one enrolled face for one row of motion: face maps are solved once, a frame is a linear sum
of them.
"""
