"""SadTalker (Zhang et al., CVPR 2023): speech to 3DMM expression and head pose.

With the renderer of one photo.
"""
