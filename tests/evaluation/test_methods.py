import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from facemend import restore
from facemend.errors import ConfigError, InputError, ModelNotFoundError, WeightsError
from facemend.evaluation.cases import find_entries, load_case
from facemend.evaluation.methods import open_groups
from facemend.evaluation.peers import open_peer
from facemend.imaging import from_float, read_picture, to_float
from facemend.photo.options import DEFAULT_MODEL


def opened(options):
    entries = find_entries(options)
    return entries, open_groups(options, entries)


def test_rows_stand_in_order_with_their_pictures(options, own_faces, tiny_model):
    chosen = options(peers=("bicubic",), restored={"theirs": own_faces}, models=(str(tiny_model),), ws=(1, 0))
    entries, groups = opened(chosen)
    methods = [method for group in groups for method in group.methods]
    assert [m.name for m in methods] == ["input", "bicubic", "theirs", "tiny w=1", "tiny w=0"]
    assert [m.kind for m in methods] == ["input", "peer", "peer", "model", "model"]
    assert [(m.model, m.w) for m in methods] == [(None, None)] * 3 + [("tiny", 1), ("tiny", 0)]
    case = load_case(entries[1], chosen)
    pictures = [picture for group in groups for picture in group.run(entries[1], case)]
    assert all(p.shape == (192, 192, 3) and p.dtype == np.uint8 for p in pictures)
    given, bicubic, theirs, *ours = pictures
    assert np.array_equal(given, case.lq)
    assert np.array_equal(bicubic, from_float(open_peer("bicubic")(to_float(case.lq)[None])[0]))
    assert np.array_equal(theirs, read_picture(own_faces / "obama.png").pixels)
    for picture, w in zip(ours, (1, 0), strict=True):
        assert np.array_equal(picture, restore(case.lq, aligned=True, model=str(tiny_model), w=w))
    assert not np.array_equal(*ours)


def test_w_auto_is_a_row_of_its_own(options, tiny_model):
    entries, groups = opened(chosen := options(models=(str(tiny_model),), ws=("auto", 0.5)))
    assert [(m.name, m.w) for m in groups[-1].methods] == [("tiny w=auto", None), ("tiny w=0.5", 0.5)]
    auto, half = groups[-1].run(entries[0], load_case(entries[0], chosen))
    assert np.array_equal(auto, half)  # the tiny model says nothing: its default


def test_a_model_of_fixed_w_is_one_row(options, tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    description = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(description | {"w": "fixed"}))
    entries, groups = opened(chosen := options(models=(str(copy),), ws=(0, 1)))
    (method,) = groups[-1].methods
    assert (method.name, method.w) == ("tiny", None)
    assert method.note.endswith("w is fixed in it")
    (picture,) = groups[-1].run(entries[0], load_case(entries[0], chosen))
    assert picture.shape == (192, 192, 3)


def test_faces_smaller_than_the_model_come_out_as_large_as_they_are(options):
    entries, groups = opened(chosen := options(models=(DEFAULT_MODEL,), ws=(1, 0)))
    case = load_case(entries[0], chosen)
    shapes = [picture.shape for picture in groups[-1].run(entries[0], case)]
    assert shapes == [case.lq.shape] * 2 == [(192, 192, 3)] * 2


def test_rows_carry_the_hashes_of_what_they_compute_with(options, own_faces, tiny_model):
    (own_faces / "sub").mkdir()
    shutil.copy(own_faces / "obama.png", own_faces / "sub/biden.png")
    _, groups = opened(options(models=(str(tiny_model),), restored={"theirs": own_faces}))
    theirs, ours = (group.methods[0].row() for group in groups[1:])
    for row, folder, names in (
        (ours, tiny_model, ["encode.onnx", "decode.onnx"]),
        (theirs, own_faces, ["biden.png", "obama.png", "obama2.png", "sub/biden.png"]),
    ):
        assert row["weights"] == {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names
        }
    assert ours["note"] == "changes contrast and tint; for tests; 64 px"


def test_restored_pictures_may_have_another_suffix_and_size_and_only_chosen_faces_need_one(
    options, own_faces, tmp_path
):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with Image.open(own_faces / "biden.png") as image:
        image.resize((96, 96)).save(theirs / "biden.webp", lossless=True)
    entries, groups = opened(options(restored={"theirs": theirs}, every=3))
    (picture,) = groups[1].run(entries[0], load_case(entries[0], options()))
    assert picture.shape == (192, 192, 3)
    assert list(groups[1].methods[0].weights) == ["biden.webp"]
    with pytest.raises(InputError, match=r"no restored picture for obama\.png, obama2\.png$"):
        opened(options(restored={"theirs": theirs}))


def test_two_rows_of_one_name_are_refused(options, own_faces, tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    for changes in (
        {"restored": {"input": own_faces}},
        {"peers": ("bicubic",), "restored": {"bicubic": own_faces}},
        {"models": (str(tiny_model), str(copy))},
    ):
        with pytest.raises(ConfigError, match="two rows would be called"):
            opened(options(**changes))


def test_unknown_and_damaged_methods_are_named(options, tiny_model, tmp_path):
    with pytest.raises(ConfigError, match="no peer 'sharper'"):
        opened(options(peers=("sharper",)))
    with pytest.raises(ModelNotFoundError, match="no model 'huge'"):
        opened(options(models=("huge",)))
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    (copy / "decode.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="decode"):
        opened(options(models=(str(copy),)))
    description = json.loads((copy / "model.json").read_text())
    description["image_size"] = 5
    (copy / "model.json").write_text(json.dumps(description))
    with pytest.raises(WeightsError, match="image_size"):
        opened(options(models=(str(copy),)))
