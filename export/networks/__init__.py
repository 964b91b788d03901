"""Our own PyTorch modules of the public talking-head networks; state dicts load strictly under
upstream's names.
"""
