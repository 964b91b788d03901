"""Thin-Plate-Spline Motion Model (Zhao and Zhang, CVPR 2022; config vox-256).

One picture moved by key points of other pictures.
"""
