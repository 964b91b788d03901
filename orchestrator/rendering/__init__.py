"""Rendering of one enrolled face for one row of motion.

Face maps are solved once; a frame is a linear sum of them.
"""
