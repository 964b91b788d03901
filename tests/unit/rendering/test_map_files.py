"""Maps that one instance of the renderer was sent serve the others of its server, within bounds,
and go with the server.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from rendering_faces import Face, motion

from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_maps import FaceMaps
from orchestrator.rendering.map_files import PREFIX, MapFiles, open_map_files, remove_folder_of
from orchestrator.rendering.renderer_cache import RendererCache, UnknownFaceError


@pytest.fixture(scope="module")
def faces(portrait: Face) -> list[FaceMaps]:
    return [
        build_face_maps(np.roll(portrait.image, shift, axis=2), portrait.landmarks, 128)
        for shift in range(3)
    ]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def row(maps: FaceMaps) -> np.ndarray:
    return np.frombuffer(maps.digest, dtype=np.uint8)[None]


def test_maps_sent_to_one_instance_are_drawn_by_the_others_and_by_its_successor(
    tmp_path: Path, faces: list[FaceMaps]
) -> None:
    first, second = (RendererCache(files=MapFiles(tmp_path / "maps")) for _ in range(2))
    first.put(faces[0].digest, faces[0].to_bytes())
    successor = RendererCache(files=MapFiles(tmp_path / "maps"))
    expected = first.draw(motion("aa")[None], row(faces[0]))
    for renderers in (second, successor):
        np.testing.assert_array_equal(renderers.draw(motion("aa")[None], row(faces[0])), expected)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_a_file_that_is_not_the_face_is_not_drawn_and_is_written_anew(
    tmp_path: Path, faces: list[FaceMaps], content: bytes | None
) -> None:
    renderers = RendererCache(files=MapFiles(tmp_path / "maps"))
    path = tmp_path / "maps" / f"{faces[0].digest.hex()}.maps"
    path.write_bytes(faces[1].to_bytes() if content is None else content)
    with pytest.raises(UnknownFaceError):
        renderers.get(faces[0].digest)
    renderers.put(faces[0].digest, faces[0].to_bytes())
    assert path.read_bytes() == faces[0].to_bytes()


def test_maps_whose_file_went_are_written_again_when_they_are_sent_again(
    tmp_path: Path, faces: list[FaceMaps]
) -> None:
    renderers = RendererCache(files=MapFiles(tmp_path / "maps"))
    for _ in range(2):
        renderers.put(faces[0].digest, faces[0].to_bytes())
        (file,) = (tmp_path / "maps").glob("*.maps")
        file.unlink()


def test_the_files_used_longest_ago_go_first(tmp_path: Path, faces: list[FaceMaps]) -> None:
    files = MapFiles(tmp_path / "maps", max_bytes=2 * len(faces[0].to_bytes()) + 1)
    for age, maps in enumerate(faces[:2]):
        files.put(maps.digest, maps.to_bytes())
        os.utime(tmp_path / "maps" / f"{maps.digest.hex()}.maps", (age, age))
    files.get(faces[0].digest)
    files.put(faces[2].digest, faces[2].to_bytes())
    assert [files.get(maps.digest) is not None for maps in faces] == [True, False, True]


def test_a_folder_that_cannot_be_written_costs_the_sharing_alone(
    tmp_path: Path, faces: list[FaceMaps]
) -> None:
    renderers = RendererCache(files=MapFiles(tmp_path / "maps"))
    (tmp_path / "maps" / "lock").unlink()
    (tmp_path / "maps").rmdir()
    renderers.put(faces[0].digest, faces[0].to_bytes())
    assert renderers.draw(motion()[None], row(faces[0])).shape == (1, 128, 128, 3)


def test_the_folder_goes_with_the_last_instance(tmp_path: Path) -> None:
    first, second = (MapFiles(tmp_path / "maps") for _ in range(2))
    first.close()
    assert (tmp_path / "maps").exists()
    second.close()
    assert not (tmp_path / "maps").exists()


def test_what_a_killed_server_left_is_removed_by_the_next_and_what_a_living_one_holds_is_not(
    temporary: Path,
) -> None:
    dead, living = temporary / f"{PREFIX}1-2", temporary / f"{PREFIX}3-4"
    os.close(MapFiles(dead)._lock)  # as the kernel does for a killed process
    held = MapFiles(living)
    assert open_map_files() is None, "this is no backend process of a server"
    assert sorted(path.name for path in temporary.iterdir()) == [living.name]
    held.close()


def test_the_folder_of_a_living_server_stays_while_none_of_its_instances_runs(
    temporary: Path,
) -> None:
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    living, gone = (
        temporary / f"{PREFIX}{os.getpid()}-{started}",
        temporary / f"{PREFIX}{os.getpid()}-{int(started) + 1}",
    )
    for folder in (living, gone):
        folder.mkdir()
        (folder / "lock").touch()
    open_map_files()
    assert living.is_dir() and not gone.exists()


def test_whoever_kills_a_server_removes_its_folder_alone(temporary: Path) -> None:
    killed, other = MapFiles(temporary / f"{PREFIX}12-5"), MapFiles(temporary / f"{PREFIX}1-25")
    remove_folder_of(12)
    assert [path.name for path in temporary.iterdir()] == [f"{PREFIX}1-25"]
    other.close()
    killed.close()
