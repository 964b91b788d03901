"""SadTalker (Zhang et al., CVPR 2023): speech to 3DMM expression and head pose, and the renderer of
one photo.
"""
