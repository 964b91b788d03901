"""PyTorch modules of the public talking-head networks, written for this project.

State dicts load strictly under upstream's names.
"""
