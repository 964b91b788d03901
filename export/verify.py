"""`python -m export verify NAME --reference DIR --seed N`: compare with upstream's records.

Every recorded output of upstream is computed by this project's modules.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from export.reference import TOLERANCE_FLOOR, Reference, ReferenceDataError

Outputs: TypeAlias = Iterator[tuple[str, NDArray[Any]]]
"""Record key and complete output, in the order of computation."""

VERIFICATIONS: Final = {
    "wav2lip": "export.networks.wav2lip.verification",
    "sadtalker": "export.networks.sadtalker.verification",
    "audio2head": "export.networks.audio2head.verification",
    "tpsm-neural": "export.networks.tpsm_neural.verification",
}
"""Model -> module with `outputs(reference) -> Outputs`, and optional `TOLERANCES`.

The latter where the manifest states no noise for some records.
"""


def main(arguments: list[str]) -> int:
    """Run the command; exit status 1 if an output differs, or was not compared."""
    parser = argparse.ArgumentParser(prog="python -m export verify", description=__doc__)
    parser.add_argument("name", choices=sorted(VERIFICATIONS))
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of manifest.json and outputs_seedN.npz",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    try:
        reference = Reference(options.reference, options.seed)
        module = import_module(VERIFICATIONS[options.name])
        outputs: Callable[[Reference], Outputs] = module.outputs
        return _report(reference, outputs(reference), getattr(module, "TOLERANCES", {}))
    except ReferenceDataError as error:
        print(f"verify: {error}")
        return 1


def _report(reference: Reference, outputs: Outputs, unmeasured: Mapping[str, float]) -> int:
    def tolerance_of(key: str) -> float:
        return reference.tolerance(key, unmeasured.get(key, TOLERANCE_FLOOR))

    began_s, failed, missing = time.monotonic(), 0, dict.fromkeys(reference.expected)
    print(f"{'output':44}{'largest error':>16}{'tolerance':>12}  verdict")
    for key, output in outputs:
        error, tolerance = reference.error(key, output), tolerance_of(key)
        passed = error <= tolerance
        failed += not passed
        missing.pop(key, None)
        verdict = ("ok" if passed else "FAILED") + ("" if reference.measured(key) else " *")
        print(f"{key:44}{error:16.3g}{tolerance:12.3g}  {verdict}", flush=True)
    for key in missing:
        print(f"{key:44}{'-':>16}{tolerance_of(key):12.3g}  NOT COMPARED")
    if not all(reference.measured(key) for key in reference.expected):
        print(
            "* the manifest states no rounding noise for this output; the default tolerance applies"
        )
    compared = len(reference.expected) - len(missing)
    print(
        f"{compared} of {len(reference.expected)} outputs compared, {failed} failed, "
        f"in {time.monotonic() - began_s:.0f} s"
    )
    return 1 if failed or missing else 0
