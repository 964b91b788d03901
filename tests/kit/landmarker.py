"""The face networks, which are fetched and not packaged."""

from __future__ import annotations

import pytest

from orchestrator.core.downloads import face_landmarker
from orchestrator.core.errors import LipSyncError


def require_face_landmarker() -> None:
    """Skip the test, or the module that is being imported, where the file has not been fetched."""
    try:
        face_landmarker()
    except LipSyncError as error:
        pytest.skip(str(error), allow_module_level=True)
