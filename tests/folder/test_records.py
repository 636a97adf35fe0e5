"""What a folder run goes by that continues another."""

import json
import threading
from dataclasses import replace

import pytest

from facemend.errors import OutputError
from facemend.folder.records import (
    RECORDS,
    FolderStore,
    Output,
    Record,
    Records,
    Stamp,
    digest,
    other_options,
    pixel_options,
    sole_run,
)
from facemend.photo.networks import find_named
from facemend.photo.options import RestoreOptions
from facemend.weights.models import read_model

CONTENT = b"photo"
OPTIONS = {"w": 0.5}
RECORD = Record(
    "in.png", Stamp(5, "1"), digest(CONTENT), OPTIONS, (Output("sub/out.png", 3, digest(b"new")),)
)


@pytest.fixture
def records(tmp_path):
    store = FolderStore(tmp_path)
    store.write("sub/out.png", b"new")
    records = Records(store, OPTIONS)
    records.put(RECORD)
    return records


def find(records, stamp=Stamp(5, "1"), content=CONTENT):
    return records.find("sub/out.png", stamp, lambda: digest(content))


def test_a_record_comes_back_as_it_was(records):
    assert find(records) == RECORD


def test_paths_beside_the_folder_are_found_from_it(tmp_path):
    real, crops = tmp_path / "far/out", tmp_path / "crops"
    for folder in (real, crops):
        folder.mkdir(parents=True)
    link = tmp_path / "out"
    link.symlink_to(real)
    (crops / "face.png").write_bytes(b"crop")
    store = FolderStore(link)
    assert store.below(link / "sub/a.png") == "sub/a.png"
    assert FolderStore(tmp_path / "o").below(crops / "face.png") == "../crops/face.png"
    assert store.read(store.below(crops / "face.png"), 10) == b"crop"


def test_the_content_is_read_only_in_doubt(records):
    assert records.find("sub/out.png", Stamp(5, "1"), lambda: pytest.fail("was read"))
    assert find(records, stamp=Stamp(5, "2")) == RECORD  # touched, not changed
    assert find(records, stamp=None) == RECORD
    assert find(records, stamp=Stamp(5, "2"), content=b"other") is None


def test_other_options_are_told(records):
    assert records.other_options(find(records)) == ""
    assert Records(records.store, {"w": 0.7}).other_options(find(records)) == "w 0.5, now 0.7"
    was, now = {"w": 0.5, "upscale": 1, "model": "a"}, {"w": 0.5, "upscale": 2, "model": "b"}
    assert other_options(was, now) == "another model, upscale 1, now 2"
    older = {"w": 0.5}  # of a version that knew no strip_metadata
    assert other_options(older, {"w": 0.5, "strip_metadata": False}) == ""
    told = other_options(older, {"w": 0.5, "strip_metadata": True})
    assert told == "strip_metadata False, now True"


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_outputs_that_are_gone_or_cut_are_seen(records, tmp_path, change):
    assert records.is_whole(find(records).outputs)
    assert records.holds(RECORD.outputs[0])
    change(tmp_path / "sub/out.png")
    assert not records.is_whole(find(records).outputs)
    assert not records.holds(RECORD.outputs[0])


def test_what_somebody_else_put_in_the_place_of_an_output_is_not_ours(records, tmp_path):
    for content in (b"old", b"longer"):
        (tmp_path / "sub/out.png").write_bytes(content)
        assert not records.holds(RECORD.outputs[0])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"stamp": 3}', "[" * 100_000, "\xff"])
def test_damaged_records_are_no_records(records, tmp_path, text):
    (file,) = (tmp_path / RECORDS).rglob("*.json")
    file.write_text(text, encoding="latin-1")
    assert find(records) is None


@pytest.mark.parametrize("change", [{"size": "3"}, {"size": 1e300}, {"path": None}, {"sha256": 1}, None])
def test_records_of_a_wrong_kind_are_no_records(change):
    values = json.loads(RECORD.to_bytes())
    values["outputs"] = [] if change is None else [values["outputs"][0] | change]
    assert Record.from_bytes(json.dumps(values).encode()) is None
    earlier = json.loads(RECORD.to_bytes()) | {"options": "a digest"}
    assert Record.from_bytes(json.dumps(earlier).encode()) is None
    assert Record.from_bytes(RECORD.to_bytes()) == RECORD


def test_names_of_outputs_are_no_paths_in_the_records(tmp_path):
    records = Records(FolderStore(tmp_path / "out"), OPTIONS)
    for name in ("../crops/face.png", "a" * 5000, "\udcff.png"):
        records.put(replace(RECORD, outputs=(Output(name, 1, ""),)))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_decides_the_pixels(tiny_model):
    options, model = RestoreOptions(), read_model(tiny_model)
    known = pixel_options(options, model)
    assert pixel_options(replace(options, w=0.6), model) != known
    assert pixel_options(replace(options, faces="largest"), model) != known
    assert pixel_options(replace(options, strength=0.5), model) != known
    assert pixel_options(replace(options, upscale=1), model) != known
    for other in ({"strip_metadata": True}, {"background": "clean"}, {"grain": "keep"}):
        assert pixel_options(replace(options, **other), model) != known
    assert pixel_options(replace(options, quality=80), model) != known
    assert pixel_options(options, find_named(options)) != known
    assert pixel_options(replace(options, model="x", threads=3, max_pixels=10**6), model) == known
    assert json.loads(json.dumps(known)) == known


def test_the_digest_of_a_weight_file_is_its_content(tmp_path):
    weights = tmp_path / "model.safetensors"
    digests = []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        digests.append(pixel_options(RestoreOptions(model=str(weights), backend="torch"), None))
    assert digests[0] != digests[1]


def test_one_run_at_a_time(tmp_path):
    refused = []

    def other():
        try:
            with sole_run(tmp_path):
                pass
        except OutputError as error:
            refused.append(str(error))

    with sole_run(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert "another run" in refused[0]
    with sole_run(tmp_path):
        pass


def test_what_a_killed_run_left_half_written_goes(tmp_path):
    part = tmp_path / "out/sub/.a.png.0123456789ab.part"
    mine = tmp_path / "out/sub/.a.png.part"
    part.parent.mkdir(parents=True)
    for path in (part, mine):
        path.write_bytes(b"half")
    with sole_run(tmp_path / "out"):
        assert mine.exists()
        assert not part.exists()


def test_a_file_where_the_records_should_be(tmp_path):
    (tmp_path / RECORDS).write_text("mine")
    with pytest.raises(OutputError, match=r"\.facemend"), sole_run(tmp_path):
        pass
    assert (tmp_path / RECORDS).read_text() == "mine"


def test_records_are_json_that_people_can_read(records, tmp_path):
    (file,) = (tmp_path / RECORDS).rglob("*.json")
    assert json.loads(file.read_text())["outputs"][0]["path"] == "sub/out.png"
