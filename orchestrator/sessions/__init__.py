"""Live sessions: their directory, their workers, and `LipSyncService`, the programming
interface.
"""
