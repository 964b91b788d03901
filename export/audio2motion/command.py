"""`python -m export audio2motion`: from bare engines to the committed network and its report."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

from export.audio2motion import corpus, espeak, evaluation, festival, flite, serving, viseme_scores

REPORT: Final = Path("model_repository/audio2motion/report.json")
ENGINES: Final = ("espeak", "festival")
"""Training engines of the committed network; flite stays unseen."""


def main(arguments: list[str]) -> int:
    """Run the command; exit status 0, or 2 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    missing = [package for engine in (espeak, festival, flite) for package in engine.missing()]
    if missing:
        print(f"speech engines are missing: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    if options.hold_out == "espeak":
        return _espeak_as_unseen_engine(options)
    if not options.evaluate_only:
        corpus.make(
            corpus.blocks(ENGINES, options.blocks),
            options.work_dir / "train",
            options.seed,
            options.workers,
        )
        _train(options, ENGINES, serving.MODEL)
    return _report(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export audio2motion", description=__doc__)
    parser.add_argument(
        "--work-dir", type=Path, default=Path("build/audio2motion"), help="folder of the features"
    )
    parser.add_argument(
        "--blocks", type=int, default=200, help="blocks of about two minutes of speech"
    )
    parser.add_argument("--minutes", type=float, default=90, help="time to train on one core")
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, (os.cpu_count() or 2) - 1),
        help="processes that synthesise",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--hold-out",
        choices=("flite", "espeak"),
        default="flite",
        help="engine reserved for judging; with espeak no model is written",
    )
    parser.add_argument(
        "--evaluate-only", action="store_true", help="judge the committed ONNX; train nothing"
    )
    parser.add_argument(
        "--acceptance",
        action="store_true",
        help="also judge on the reserved flite voices: once, when all is chosen",
    )
    return parser


def _train(options: argparse.Namespace, engines: tuple[str, ...], path: Path) -> None:
    import torch

    from export.audio2motion import onnx_file, viseme_file
    from export.audio2motion.mixing import Mixer
    from export.audio2motion.training import train

    torch.set_num_threads(1)
    mixer = Mixer(options.work_dir / "train", engines, options.seed)
    print(f"{mixer.speech_hours:.1f} h of speech features from {' and '.join(engines)}")
    network = train(mixer, options.minutes, options.seed)
    print(
        f"{path}: "
        f"largest difference between torch and onnxruntime {onnx_file.export(network, path):.1e}"
    )
    if path == serving.MODEL:
        print(f"{viseme_file.FILE}: {viseme_file.export(network):.1e}")


def _report(options: argparse.Namespace) -> int:
    session = serving.open_model()
    sets = evaluation.development_sets()
    if options.acceptance:
        sets.append(evaluation.flite_speech(flite.ACCEPTANCE_VOICES))
    speech, still = evaluation.speech_table(session, sets), evaluation.stillness_table(session)
    print(evaluation.as_markdown(speech, still))
    print(viseme_scores.as_markdown(viseme_scores.scores(sets)))
    if not options.evaluate_only or options.acceptance:
        REPORT.write_text(json.dumps(evaluation.as_json(speech, still), indent=1) + "\n")
    return 0


def _espeak_as_unseen_engine(options: argparse.Namespace) -> int:
    """Train a second network without espeak and judge it on espeak; it is not committed."""
    folder = options.work_dir / "train"
    planned = [
        block
        for block in corpus.blocks(ENGINES, options.blocks)
        if block.engine not in ("espeak", "babble")
    ]
    planned += [
        block for block in corpus.blocks(("flite",), options.blocks // 4) if block.engine == "flite"
    ]
    corpus.make(planned, folder, options.seed, options.workers)
    path = options.work_dir / "without-espeak.onnx"
    _train(options, ("festival", "flite"), path)
    session = serving.open_model(path)
    sets = [speech for speech in evaluation.development_sets() if speech.name.startswith("espeak")]
    print(
        evaluation.as_markdown(
            evaluation.speech_table(session, sets), evaluation.stillness_table(session)
        )
    )
    return 0
