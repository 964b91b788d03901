"""Wav2Lip (Prajwal et al., ACM Multimedia 2020, arXiv:2008.10010).

Generator, sync expert, quality discriminator, S3FD detector.
"""
