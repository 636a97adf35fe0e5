"""What a worker's restorer holds of the photos that it showed."""

from dataclasses import replace

import pytest

from facemend.imaging import read_picture
from facemend.photo.options import RestoreOptions
from facemend.server.orders import Job
from facemend.server.restorer import JobRestorer
from facemend.server.store import JobStore


@pytest.mark.parametrize(("cache_mb", "held"), [(0, [0, 0, 0]), (256, [0, 1])])
def test_no_photo_is_read_beside_looks_over_the_limit(settings, cache, jpeg, monkeypatch, cache_mb, held):
    store = JobStore(settings.folder())
    restorer = JobRestorer(replace(settings, cache_mb=cache_mb), store)
    looks = []

    def read(*arguments, **options):
        looks.append(len(restorer._looks))
        return read_picture(*arguments, **options)

    monkeypatch.setattr("facemend.server.restorer.read_picture", read)
    asked = {
        "format": "jpeg",
        "input_width": 320,
        "input_height": 400,
        "options": RestoreOptions(model="tiny"),
    }
    jobs = [
        Job(id=id, name=f"{id}.jpg", seq=1, status="running", created=0, expires=0, **asked) for id in "ab"
    ]
    for job in jobs:
        store.make(job.id)
        store.input(job.id).write_bytes(jpeg)
        restorer.restore(job)
    assert restorer.before(jobs[0], 100)  # which must be read again, where nothing is held
    assert looks == held
    restorer.before(jobs[0], 100)  # the last one stays
    assert looks == held
