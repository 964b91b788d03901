"""Thin-plate spline motion model: neural renderer."""
