"""The service where SciPy is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from project_root import ROOT

KIT = ROOT / "tests" / "kit"

PROGRAM = f"""
import sys
sys.modules["scipy"] = None  # as if it were not installed: any import of it fails
sys.path.insert(0, {str(KIT)!r})
import numpy as np
import orchestrator.server.app, orchestrator.cli.render, orchestrator.cli.serve
from demo_face import demo_face
from orchestrator.audio.features.features import audio_features
from orchestrator.models.audio2head import features
from orchestrator.models.sadtalker import pose
from orchestrator.models.tpsm import adapter as tpsm
from orchestrator.models.tpsm_neural import motion
from orchestrator.core.types import MelSpec

sound = np.sin(np.arange(16_000) / 12.0).astype(np.float32)
assert audio_features(sound, 0.0, MelSpec()).mfcc.shape == (101, 13)
assert features.audio_features((9_000 * sound).astype(np.int16)).shape == (99, 41)
assert pose.smoothed(np.zeros((40, 6), np.float32)).shape == (40, 6)
assert motion.hull_area(np.eye(3, 2, dtype=np.float32)) == 0.5
assert tpsm.prepare_face(demo_face(), 256).blob.size
print("served")
"""


@pytest.mark.slow
def test_sound_and_faces_are_prepared_without_scipy() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.stdout.strip() == "served", run.stderr
