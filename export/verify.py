"""`python -m export verify NAME --reference DIR --seed N`: every recorded output of upstream against our own modules."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from export.reference import Reference, ReferenceDataError

Outputs: TypeAlias = Iterator[tuple[str, NDArray[Any]]]
"""Record key and our complete output, in the order in which they are computed."""

VERIFICATIONS: Final = {
    "wav2lip": "export.networks.wav2lip.verification",
    "sadtalker": "export.networks.sadtalker.verification",
    "audio2head": "export.networks.audio2head.verification",
    "tpsm-neural": "export.networks.tpsm_neural.verification",
}
"""Model -> module with `outputs(reference) -> Outputs`."""


def main(arguments: list[str]) -> int:
    """Exit status 1 if an output is off, or was not compared."""
    parser = argparse.ArgumentParser(prog="python -m export verify", description=__doc__)
    parser.add_argument("name", choices=sorted(VERIFICATIONS))
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="folder of manifest.json and outputs_seedN.npz")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    try:
        reference = Reference(options.reference, options.seed)
        outputs: Callable[[Reference], Outputs] = import_module(VERIFICATIONS[options.name]).outputs
        return _report(reference, outputs(reference))
    except ReferenceDataError as error:
        print(f"verify: {error}")
        return 1


def _report(reference: Reference, outputs: Outputs) -> int:
    began_s, failed, missing = time.monotonic(), 0, dict.fromkeys(reference.expected)
    print(f"{'output':44}{'largest error':>16}{'tolerance':>12}  verdict")
    for key, output in outputs:
        error, tolerance = reference.error(key, output), reference.tolerance(key)
        passed = error <= tolerance
        failed += not passed
        missing.pop(key, None)
        print(f"{key:44}{error:16.3g}{tolerance:12.3g}  {'ok' if passed else 'FAILED'}", flush=True)
    for key in missing:
        print(f"{key:44}{'-':>16}{reference.tolerance(key):12.3g}  NOT COMPARED")
    compared = len(reference.expected) - len(missing)
    print(f"{compared} of {len(reference.expected)} outputs compared, {failed} failed, in {time.monotonic() - began_s:.0f} s")
    return 1 if failed or missing else 0
