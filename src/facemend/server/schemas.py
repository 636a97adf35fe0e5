"""What goes over the wire; the OpenAPI description is made of these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from facemend.photo.options import DEFAULT_MODEL
from facemend.server.orders import Job

_FACE = {
    "index": 0,
    "box": [212.4, 88.0, 301.9, 204.3],
    "restored": True,
    "reason": None,
    "looks": "about 40 px of real detail, strong JPEG",
    "auto": {"w": 0.5, "strength": 1.0, "left": ""},
}
_JOB: dict[str, Any] = {
    "id": "5dAP9kQnW3Cz1sGv0uT8Yg",
    "status": "done",
    "position": None,
    "part": None,
    "progress": 1.0,
    "error": None,
    "name": "grandmother.jpg",
    "width": 1600,
    "height": 1200,
    "input_width": 800,
    "input_height": 600,
    "format": "jpeg",
    "frame": None,
    "frames": None,
    "faces_a_frame": None,
    "w": 0.5,
    "strength": 1.0,
    "upscale": "auto",
    "factor": 2,
    "model": DEFAULT_MODEL,
    "background": "lanczos",
    "grain": "none",
    "boxes": [],
    "aligned": False,
    "strip_metadata": False,
    "faces": [_FACE],
    "notes": [],
    "seconds": {"detect": 0.21, "encode": 0.06, "decode": 0.07, "mask": 0.02, "paste": 0.04},
    "created": 1795600000.0,
    "expires": 1795603601.5,
}


class Error(BaseModel):
    """Why a request failed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "no such job, or it has expired"}]})

    detail: str = Field(description="One line for people.")


class ChoiceOut(BaseModel):
    """What w = auto does with a face."""

    w: float
    strength: float = Field(description="Times that of the job.")
    left: str = Field(description="Why it is left as it is; empty: it is not.")


class FaceOut(BaseModel):
    """A face that was found."""

    index: int = Field(description="What `faces=` takes; only of restored faces.")
    box: list[float] = Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels of the input.")
    restored: bool
    reason: str | None = Field(description="Why it was left as it is.")
    looks: str | None = Field(None, description="How damaged it is, in words; null: the model says nothing.")
    auto: ChoiceOut | None = Field(None, description="null: the model says nothing.")


class JobOut(BaseModel):
    """A photo or film and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB]})

    id: str
    status: Literal["queued", "running", "done", "failed"]
    position: int | None = Field(description="Jobs before this one; 0 = next; null unless queued.")
    part: str | None = Field(
        description="What is being done: read, detect, encode, decode, paste ...; of a film: frames."
    )
    progress: float = Field(ge=0, le=1)
    error: str | None = Field(description="Why it failed, one line.")
    name: str = Field(description="The upload's own name, for display.")
    width: int | None = Field(description="Of the output, pixels; null before it is done.")
    height: int | None
    input_width: int
    input_height: int
    format: str
    frame: int | None = Field(description="Frames of a film that are done; null: a photo.")
    frames: int | None = Field(description="Frames of a film, about before it is done; null: a photo.")
    faces_a_frame: float | None = Field(
        description="Restored faces of a film, on average; null: a photo, or not done."
    )
    w: float | Literal["auto"]
    strength: float
    upscale: int | Literal["auto"] = Field(description="As asked for.")
    factor: int | None = Field(description="What auto took: times the input; null before it is done.")
    model: str
    background: str
    grain: str
    boxes: list[list[float]] = Field(description="Faces by hand, as asked for: x1, y1, x2, y2 each.")
    aligned: bool = Field(description="Whether the photo is an aligned face crop, as asked for.")
    strip_metadata: bool
    faces: list[FaceOut] = Field(description="Of a photo; those of a film come and go.")
    notes: list[str]
    seconds: dict[str, float]
    created: float = Field(description="Seconds since 1970.")
    expires: float = Field(description="When upload and result are deleted.")

    @classmethod
    def of(cls, job: Job, position: int | None) -> JobOut:
        """The public part of a job."""
        frame = None if job.frames is None else round(job.progress * job.frames)
        faces = round(job.film_faces / job.frames, 3) if job.film_faces is not None and job.frames else None
        made = {"position": position, "frame": frame, "faces_a_frame": faces}
        return cls.model_validate({**vars(job.options), **vars(job), **made})


class ModelOut(BaseModel):
    """A network that can be asked for."""

    name: str
    default: bool
    size: int = Field(description="Side of its face crops, pixels.")
    licence: str
    task: str


class FilmsOut(BaseModel):
    """The films that are taken."""

    formats: list[str] = Field(description="Suffixes of what they are recognised as, by content.")
    max_bytes: int
    max_seconds: float
    max_frames: int
    max_pixels: int = Field(description="Largest frame of the output: width x height x factor^2.")
    w: float = Field(description="Fidelity weight where none is asked for.")


class InfoOut(BaseModel):
    """What this server can do, and its limits."""

    version: str
    formats: list[str] = Field(
        description="Suffixes of files that this server can read; .heic and .avif where their decoders are."
    )
    films: FilmsOut | None = Field(description="null: films are not taken.")
    max_bytes: int = Field(description="Largest photo.")
    max_pixels: int = Field(description="Largest output: width x height x factor^2.")
    keep_seconds: float
    models: list[ModelOut]
    upscales: list[int | Literal["auto"]]
    backgrounds: list[str]
    token: bool = Field(description="Whether a token is needed.")


class HealthOut(BaseModel):
    """How much there is to do, and how the worker of the process that answers is."""

    status: Literal["starting", "ok", "replacing"] = Field(
        description="Of the worker. replacing: the last one died or took too long, and the next one starts."
    )
    queued: int
    running: int
    working: bool = Field(description="Whether the worker has something to do.")
    silent: float | None = Field(
        description="Seconds since it last said something, before each part of a photo and after each frame "
        "of a film; null: nothing to do."
    )


class LoginIn(BaseModel):
    """The token, to be set as a cookie."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "correct-horse-battery-staple"}]})

    token: str = Field(max_length=500)
