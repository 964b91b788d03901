"""Offline tools that make the files of `model_repository/`; nothing here runs while the service
serves.
"""
