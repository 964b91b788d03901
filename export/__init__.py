"""Offline tools that make the files of `model_repository/`; not used while serving."""
