"""Faces over frames: found now and then, followed in between, refilled, faded, reset by a cut."""

import numpy as np
import pytest

from facemend.imaging import to_float
from facemend.photo.options import RestoreOptions
from facemend.video.tracking import DETECT_EVERY, FADE, PATIENCE, FaceTracker, Scene
from fake_parts import make_face
from film_files import panning, texture
from film_parts import FilmDetector


def run(where, frames, **options):
    """All scenes of a film, and the detector."""
    detector = FilmDetector(where)
    tracker = FaceTracker(detector, RestoreOptions(**options))
    scenes, scene = [], Scene()
    for number, frame in enumerate(frames):
        scene = tracker.step(scene, to_float(frame), (number + 1) / 25)
        scenes.append(scene)
    return scenes, detector


def panned(frame, **more):
    """A face that moves with `panning`."""
    return [make_face(60 - frame, 30, 50, **more)]


def test_a_face_is_one_track_found_now_and_then(rng):
    scenes, detector = run(panned, panning(rng, 30))
    assert [len(scene.tracks) for scene in scenes] == [1] * 30
    assert {scene.tracks[0].number for scene in scenes} == {0}
    assert {scene.tracks[0].strength for scene in scenes} == {1.0}
    assert detector.looks == list(range(0, 30, DETECT_EVERY))


def test_landmarks_follow_a_pan_without_lag_and_with_less_shaking(rng):
    shake = np.random.default_rng(3).normal(0, 1.0, (60, 2))

    def faces(frame):
        return [make_face(80 - frame + shake[frame, 0], 30 + shake[frame, 1], 50)]

    scenes, _ = run(faces, panning(rng, 40))
    true = np.array([make_face(80 - i, 30, 50).landmarks for i in range(40)])
    tracked = np.array([scene.tracks[0].face.landmarks for scene in scenes])
    error = (tracked - true)[15:].mean(1)  # of the face as a whole
    assert np.abs(error.mean(0)).max() < 0.5  # no lag
    assert np.std(error, axis=0).max() < 0.5 * np.std(shake[15:40], axis=0).min()


def test_missed_frames_are_filled_by_the_motion_of_the_picture(rng):
    gap = range(10, 10 + PATIENCE)
    scenes, _ = run(lambda frame: [] if frame in gap else panned(frame), panning(rng, 20))
    for number in gap:
        (track,) = scenes[number].tracks
        assert track.strength == 1
        assert track.face.landmarks == pytest.approx(panned(number)[0].landmarks, abs=1.0)
    assert {scene.tracks[0].number for scene in scenes} == {0}
    assert scenes[-1].tracks[0].missed == 0


def test_a_face_that_is_gone_fades_and_one_that_comes_fades_in(rng):
    scenes, _ = run(lambda frame: panned(frame) if frame < 8 else [], panning(rng, 30))
    strengths = [scene.tracks[0].strength if scene.tracks else 0 for scene in scenes]
    gone = 8 + PATIENCE
    assert strengths[:gone] == [1] * gone
    assert strengths[gone : gone + FADE] == pytest.approx([1 - i / FADE for i in range(1, FADE + 1)])
    assert not scenes[gone + FADE].tracks

    scenes, _ = run(lambda frame: panned(frame) if frame >= 8 else [], panning(rng, 20))
    assert [s.tracks[0].strength for s in scenes[8 : 8 + FADE]] == pytest.approx(
        [i / FADE for i in range(1, FADE + 1)]
    )


def test_a_cut_begins_anew(rng):
    frames = panning(rng, 5) + [255 - texture(np.random.default_rng(5)) // 3 for _ in range(5)]
    scenes, detector = run(lambda frame: [make_face(40, 30, 50)], frames)
    assert [scene.tracks[0].number for scene in scenes] == [0] * 5 + [1] * 5
    assert scenes[5].tracks[0].strength == 1
    assert scenes[5].tracks[0].step is None
    assert detector.looks == [0, 5]


def test_only_wanted_faces_show(rng):
    faces = [make_face(10, 20, 30), make_face(80, 20, 60)]
    frames = [texture(rng)] * 3
    for options, wanted in (({"faces": "largest"}, [0, 1]), ({"min_face": 40}, [0, 1]), ({}, [1, 1])):
        scenes, _ = run(lambda frame: faces, frames, **options)
        assert [track.strength for track in scenes[-1].tracks] == wanted


def test_two_tracks_on_one_face_become_the_older(rng):
    def faces(frame):
        second = max(70 - 3 * frame, 33)
        return [make_face(30, 30, 40), make_face(second, 30, 40)] if frame < 25 else [make_face(30, 30, 40)]

    scenes, _ = run(faces, [texture(rng)] * 40)
    assert len(scenes[0].tracks) == 2
    assert [track.number for track in scenes[-1].tracks] == [0]
