"""The API: one function a route. What needs a network is asked of the worker; the rest is the job table."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from inspect import signature
from time import perf_counter
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, File, Form, HTTPException, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from facemend import __version__
from facemend.errors import FacemendError, OutputError
from facemend.imaging import WRITABLE, readable_suffixes
from facemend.photo.options import (
    DEFAULT_MODEL,
    MAX_BOXES,
    UPSCALES,
    Grain,
    RestoreOptions,
    make_options,
    read_upscale,
)
from facemend.server.clients import client_name
from facemend.server.films import MEDIA
from facemend.server.forms import SmallForms
from facemend.server.metrics import CONTENT_TYPE, exposition
from facemend.server.orders import DONE, FAILED, QUEUED, RUNNING, Job
from facemend.server.problems import GoneError
from facemend.server.restorer import JobRestorer, known_models
from facemend.server.schemas import Error, FilmsOut, HealthOut, InfoOut, JobOut, LoginIn, ModelOut
from facemend.server.services import PassingFile, Services, Shared, as_http, ask
from facemend.server.settings import ServerSettings
from facemend.server.tokens import COOKIE
from facemend.server.uploads import Upload, accept, attachment, display_name, result_name, wish
from facemend.video.kinds import VIDEO_SUFFIXES
from facemend.video.restore import DEFAULT_W

logger = logging.getLogger(__name__)
_PICTURES = tuple(f"image/{format}" for format in sorted(set(WRITABLE.values())))


def _header(name: str, text: str) -> dict[str, Any]:
    return {"headers": {name: {"schema": {"type": "string"}, "description": text}}}


_RETRY = _header("Retry-After", "Seconds, where it helps to come back.")


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Error, **(_RETRY if code in (409, 429, 503) else {})} for code in codes}


def _content(*kinds: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}}


_NUMBER = r"[0-9]{1,6}(\.[0-9]{1,3})?"
_BOX = rf"{_NUMBER}(, ?{_NUMBER}){{3}}"
_BOXES = rf"^({_BOX}(; ?{_BOX})*)?$"
_TOKEN = _errors(401, 429)
_JOB = {**_TOKEN, **_errors(404, 422)}
_LOOK = {**_JOB, **_errors(409, 503)}

router = APIRouter(prefix="/api", responses=_errors(408, 413, 421, 503), route_class=SmallForms)
operations = APIRouter()
JobId = Annotated[str, Path(max_length=100, description="As `POST /api/jobs` gave it.")]
Weight = Annotated[float, Field(ge=0, le=1)] | Literal["auto"]
W = Annotated[Weight | None, Query(description="Fidelity weight, or auto; default: the job's.")]
Strength = Annotated[
    float | None, Query(ge=0, le=1, description="How much of the restored faces; default: the job's.")
]
Side = Annotated[int, Query(ge=16, le=4096, description="Longest side at most, pixels.")]
Faces = Annotated[
    str | None,
    Query(
        pattern=r"^([0-9]{1,4}(, ?[0-9]{1,4})*)?$",
        description="Indices of the faces to restore, as 0,2; empty: none; left out: all.",
        examples=["0", "0,2"],
    ),
]


@router.get("/info")
def info(shared: Shared) -> InfoOut:
    """What this server can do, and its limits."""
    settings = shared.settings
    return InfoOut(
        version=__version__,
        formats=sorted(readable_suffixes()),
        films=_films(settings) if settings.takes_films else None,
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
        keep_seconds=settings.keep_seconds,
        models=[
            ModelOut(
                name=model.name,
                default=model.name == DEFAULT_MODEL,
                size=model.image_size,
                licence=model.licence,
                task=model.task,
            )
            for model in known_models()
        ],
        upscales=["auto", *UPSCALES],
        backgrounds=list(shared.backgrounds),
        token=bool(settings.token),
    )


@router.get("/health")
def health(shared: Shared) -> HealthOut:
    """How much there is to do, and how the worker of the process that answers is."""
    states, worker = shared.jobs.states(), shared.worker.report()
    return HealthOut(queued=states[QUEUED], running=states[RUNNING], **asdict(worker))


@router.post("/login", status_code=204, response_class=Response, responses=_errors(400, 401, 403, 422, 429))
def login(shared: Shared, request: Request, said: LoginIn) -> Response:
    """Set the token as a cookie, so that the pictures of a page carry it."""
    shared.guard.check([said.token], client_name(request.scope["client"]))
    response = Response(status_code=204)
    if token := shared.settings.token:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
    return response


@router.post(
    "/jobs",
    status_code=202,
    responses={
        202: _header("Location", "Path of the job."),
        **_TOKEN,
        **_errors(400, 403, 415, 422, 429, 507),
    },
)
async def add(
    request: Request,
    response: Response,
    shared: Shared,
    photo: Annotated[UploadFile, File(description="The photo or film, as a file.")],
    w: Annotated[
        Weight | None,
        Form(
            description="0: most redrawn, 1: closest to the photo; auto: for each face by how damaged it is. "
            f"Default: {RestoreOptions().w}, of a film {DEFAULT_W}.",
        ),
    ] = None,
    strength: Annotated[
        float,
        Form(ge=0, le=1, description="How much of the restored faces, 0 to 1."),
    ] = RestoreOptions().strength,
    upscale: Annotated[
        str,
        Form(
            max_length=10,
            json_schema_extra={"enum": ["auto", *map(str, UPSCALES)]},
            description="Output size: times the input; auto: by the size of the faces; 1 of a film.",
        ),
    ] = "auto",
    model: Annotated[str, Form(max_length=100, description="A name of `/api/info`.")] = DEFAULT_MODEL,
    background: Annotated[
        str,
        Form(max_length=100, description="What becomes of the rest of the photo; a name of `/api/info`."),
    ] = RestoreOptions().background,
    grain: Annotated[
        str,
        Form(
            max_length=10,
            json_schema_extra={"enum": list(get_args(Grain))},
            description="Of the photo in restored faces: none, or keep, as much as is around them.",
        ),
    ] = RestoreOptions().grain,
    boxes: Annotated[
        str,
        Form(
            max_length=1000,
            pattern=_BOXES,
            description=f"Faces by hand, pixels of the upright photo: x1,y1,x2,y2;... {MAX_BOXES} at most.",
        ),
    ] = "",
    aligned: Annotated[bool, Form(description="The photo is an aligned face crop.")] = False,
    strip_metadata: Annotated[
        bool, Form(description="The result holds no EXIF, XMP, IPTC and texts (place, camera, names).")
    ] = False,
) -> JobOut:
    """Queue a photo or a film."""
    _only_known(request, await request.form())
    wanted: dict[str, Any] = {"strength": strength, "upscale": read_upscale(upscale)}
    wanted |= {} if w is None else {"w": w}
    wanted |= {"model": model, "background": background, "boxes": _boxes(boxes), "aligned": aligned}
    wanted |= {"grain": grain, "strip_metadata": strip_metadata}
    try:
        name, client = display_name(photo.filename), client_name(request.scope["client"])
        upload = Upload(photo.file, name, photo.size or 0, client)
        job = await accept(request, shared, upload, wish(upload, wanted))
    except FacemendError as error:
        answer = as_http(error)
        name = f'uploads_refused_total{{status="{answer.status_code}"}}'
        await run_in_threadpool(shared.jobs.count, name)
        raise answer from error
    logger.info("job %d has come", job.seq)
    shared.worker.wake()
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/api/jobs/{job.id}"
    return JobOut.of(job, await run_in_threadpool(shared.jobs.position, job))


@router.get("/jobs/{id}", responses=_JOB)
def show(shared: Shared, id: JobId) -> JobOut:
    """A job: where it is, or what came of it."""
    job = _job(shared, id)
    return JobOut.of(job, shared.jobs.position(job))


@router.delete("/jobs/{id}", status_code=204, response_class=Response, responses={**_JOB, **_errors(403)})
def delete(shared: Shared, id: JobId) -> Response:
    """Delete a photo or film and all that came of it, at once; a job that runs is left."""
    _job(shared, id)
    shared.store.remove(id)  # first: it makes room where the disk is full
    with suppress(OutputError):  # a job without a folder is as good as gone, and is forgotten later
        shared.jobs.delete(id)
    return Response(status_code=204)


@router.get(
    "/jobs/{id}/result",
    response_class=Response,
    responses={
        200: _content(*_PICTURES, *MEDIA.values()),
        206: _content(*_PICTURES, *MEDIA.values()) | {"description": "The part that `Range` asks for."},
        **_LOOK,
        **_errors(507),
    },
)
async def result(
    request: Request, shared: Shared, id: JobId, w: W = None, strength: Strength = None, faces: Faces = None
) -> Response:
    """The restored photo, in the format of the input where that can be written, else PNG; or the film."""
    job = await run_in_threadpool(_done, shared, id)
    media = MEDIA[job.suffix] if job.is_film else f"image/{WRITABLE[job.suffix]}"
    headers = {"Content-Disposition": attachment(result_name(job))}
    looked = _looked(job, w, strength, faces)
    if faces is None and looked == job:
        path = shared.store.result(job.id, job.suffix)
        if not await run_in_threadpool(path.is_file):
            raise as_http(GoneError())
        return FileResponse(path, media_type=media, headers=headers)
    path = shared.store.look(job.id, job.suffix)
    look = partial(JobRestorer.result, job=looked, faces=_indices(faces), path=path)
    await ask(request, shared.worker, look, path)
    return PassingFile(path, media_type=media, headers=headers)


@router.get("/jobs/{id}/preview", response_class=Response, responses={200: _content("image/webp"), **_LOOK})
async def preview(
    request: Request,
    shared: Shared,
    id: JobId,
    w: W = None,
    strength: Strength = None,
    faces: Faces = None,
    side: Side = 1280,
) -> Response:
    """The same shrunk for a page; answers at once for any w, as only the network's light half runs.

    Of a film: its first frame.
    """
    start = perf_counter()
    job = await run_in_threadpool(_done, shared, id)
    looked = _looked(job, w, strength, faces)
    look = partial(JobRestorer.preview, job=looked, faces=_indices(faces), side=side)
    data, seconds = await ask(request, shared.worker, look)
    total = perf_counter() - start
    await run_in_threadpool(_count_preview, shared, total)
    parts = {**seconds, "total": total}
    timing = ", ".join(f"{part};dur={1000 * value:.1f}" for part, value in parts.items())
    return Response(data, media_type="image/webp", headers={"Server-Timing": timing})


@router.get("/jobs/{id}/before", response_class=Response, responses={200: _content("image/webp"), **_LOOK})
async def before(request: Request, shared: Shared, id: JobId, side: Side = 1280) -> Response:
    """The photo as it was, in the size of the preview; of a film its first frame."""
    job = await run_in_threadpool(_done, shared, id)
    data = await ask(request, shared.worker, partial(JobRestorer.before, job=job, side=side))
    return Response(data, media_type="image/webp")


@router.get(
    "/jobs/{id}/faces/{face}/{when}",
    response_class=Response,
    responses={200: _content("image/png"), **_LOOK},
)
async def crop(
    request: Request,
    shared: Shared,
    id: JobId,
    face: Annotated[int, Path(ge=0, le=9999)],
    when: Literal["before", "after"],
    w: W = None,
) -> Response:
    """An aligned face, before or after, at full strength."""
    job = await run_in_threadpool(_done, shared, id)
    if job.is_film:
        raise HTTPException(404, "a film has no faces by number: they come and go")
    looked = _looked(job, w)
    look = partial(JobRestorer.crop, job=looked, face=face, when=when)
    data = await ask(request, shared.worker, look)
    return Response(data, media_type="image/png")


@operations.get("/metrics", response_class=Response, responses={200: _content("text/plain"), **_TOKEN})
def metrics(shared: Shared) -> Response:
    """Counters of all processes of this server, for Prometheus."""
    text = exposition(__version__, shared.jobs.counters(), shared.jobs.states())
    return Response(text, media_type=CONTENT_TYPE)


def _job(shared: Services, id: str) -> Job:
    job = shared.jobs.get(id)
    if job is None or not shared.store.has(id):
        raise as_http(GoneError())
    return job


def _done(shared: Services, id: str) -> Job:
    job = _job(shared, id)
    if job.status == FAILED:
        raise HTTPException(409, job.error or "the job failed")
    if job.status != DONE:
        raise HTTPException(409, "not done yet", {"Retry-After": "1"})
    return job


def _looked(job: Job, w: Weight | None, strength: float | None = None, faces: str | None = None) -> Job:
    """The job as if it had been asked for with these."""
    if job.is_film and (w, strength, faces) != (None, None, None):
        raise HTTPException(
            422, "a film is made for one w, one strength and all faces: send it again for others"
        )
    given = {"w": w, "strength": strength}
    changed = {name: value for name, value in given.items() if value is not None}
    return replace(job, options=make_options(job.options, changed))


def _films(settings: ServerSettings) -> FilmsOut:
    return FilmsOut(
        formats=sorted(VIDEO_SUFFIXES),
        max_bytes=settings.film_bytes,
        max_seconds=settings.film_seconds,
        max_frames=settings.film_frames,
        max_pixels=settings.film_pixels,
        w=DEFAULT_W,
    )


_FIELDS = frozenset(signature(add).parameters) - {"request", "response", "shared"}


def _only_known(request: Request, form: FormData) -> None:
    """Refuse what would change nothing: fields of no meaning, twice the same, options in the address."""
    names = [name for name, _ in form.multi_items()]
    unknown, twice = [n for n in names if n not in _FIELDS], [n for n in names if names.count(n) > 1]
    if unknown:
        raise HTTPException(422, f"{unknown[0]!r}: no such field; there are: {', '.join(sorted(_FIELDS))}")
    if twice:
        raise HTTPException(422, f"{twice[0]}: is given twice")
    if request.query_params:
        raise HTTPException(422, "options are fields of the form, not of the address")


def _boxes(text: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, box.split(","))) for box in text.split(";") if box)


def _indices(faces: str | None) -> list[int] | None:
    return None if faces is None else [int(index) for index in faces.split(",") if index]


def _count_preview(shared: Services, seconds: float) -> None:
    shared.jobs.count("preview_seconds_sum", seconds)
    shared.jobs.count("preview_seconds_count")
