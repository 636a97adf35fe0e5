"""The counters of all processes as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTERS = {
    "jobs_accepted_total": "Uploads that became jobs.",
    "jobs_done_total": "Jobs that ended well.",
    "jobs_failed_total": "Jobs that failed.",
    "jobs_retaken_total": "Jobs begun again because their worker died.",
    "jobs_expired_total": "Jobs deleted because their time was over.",
    "faces_restored_total": "Faces restored by jobs; of films one for each face in each frame.",
    "upload_bytes_total": "Bytes of the uploads that became jobs.",
    "uploads_refused_total": "Uploads that were refused, by HTTP status.",
    "part_seconds_total": "Seconds of jobs by part of the work.",
}
_SUMMARIES = {
    "job_seconds": "Seconds from the beginning of a job to its end.",
    "preview_seconds": "Seconds of previews, waiting included.",
}


def exposition(version: str, counters: Mapping[str, float], states: Mapping[str, int]) -> str:
    """All metrics.

    Args:
        version: of facemend.
        counters: name -> value, where the name may carry labels; without the prefix `facemend_`.
        states: state -> number of jobs now.
    """
    return "\n".join(_lines(version, counters, states)) + "\n"


def _lines(version: str, counters: Mapping[str, float], states: Mapping[str, int]) -> Iterator[str]:
    yield from _head("info", "gauge", "Version of the server.")
    yield f'facemend_info{{version="{version}"}} 1'
    yield from _head("jobs", "gauge", "Jobs in the store, by state.")
    for state, number in states.items():
        yield f'facemend_jobs{{state="{state}"}} {number}'
    for name, text in _COUNTERS.items():
        yield from _head(name, "counter", text)
        samples = {key: value for key, value in counters.items() if key.partition("{")[0] == name}
        if not samples and name not in ("uploads_refused_total", "part_seconds_total"):
            samples = {name: 0.0}
        for key, value in samples.items():
            yield f"facemend_{key} {value!r}"
    for name, text in _SUMMARIES.items():
        yield from _head(name, "summary", text)
        for part in ("sum", "count"):
            yield f"facemend_{name}_{part} {counters.get(f'{name}_{part}', 0.0)!r}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP facemend_{name} {text}", f"# TYPE facemend_{name} {kind}"
