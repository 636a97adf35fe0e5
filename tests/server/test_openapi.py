"""The description of the API is true: what schemathesis makes of it never breaks the server."""

import json

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from server_helpers import restored

CHECKS = [
    not_a_server_error,
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
]


ROUTES = [
    ("/api/info", "GET"),
    ("/api/health", "GET"),
    ("/api/login", "POST"),
    ("/api/jobs", "POST"),
    ("/api/jobs/{id}", "GET"),
    ("/api/jobs/{id}", "DELETE"),
    ("/api/jobs/{id}/result", "GET"),
    ("/api/jobs/{id}/preview", "GET"),
    ("/api/jobs/{id}/before", "GET"),
    ("/api/jobs/{id}/faces/{face}/{when}", "GET"),
    ("/metrics", "GET"),
]


def description(client: TestClient) -> dict:
    answer = client.get("/api/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def test_every_route_is_described(client):
    paths = description(client)["paths"]
    described = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    assert described == set(ROUTES)


def test_errors_and_examples_are_described(client):
    said = description(client)
    assert "HTTPValidationError" not in json.dumps(said)
    for methods in said["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert response["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
    for name in ("JobOut", "Error", "LoginIn"):
        assert said["components"]["schemas"][name]["examples"]
    upload = said["paths"]["/api/jobs"]["post"]["requestBody"]["content"]
    assert list(upload) == ["multipart/form-data"]


def test_the_token_and_headers_are_described(client):
    said = description(client)
    assert said["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    with_token = {
        path for path, methods in said["paths"].items() if "security" in next(iter(methods.values()))
    }
    assert with_token == {path for path, _ in ROUTES} - {"/api/info", "/api/health", "/api/login"}
    responses = said["paths"]["/api/jobs"]["post"]["responses"]
    assert "Location" in responses["202"]["headers"]
    assert "Retry-After" in responses["429"]["headers"]
    assert "206" in said["paths"]["/api/jobs/{id}/result"]["get"]["responses"]


def test_the_example_of_a_job_is_one(client, jpeg):
    example = description(client)["components"]["schemas"]["JobOut"]["examples"][0]
    job = restored(client, jpeg)
    assert {name: type(value) for name, value in example.items()} == {
        name: type(value) for name, value in job.items() if value is not None
    }


@pytest.fixture(scope="module")
def schema(client):
    async def running(scope, receive, send):
        """The application, which `client` has started already: schemathesis would do so for each request."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await client.app(scope, receive, send)

    return schemathesis.openapi.from_asgi("/api/openapi.json", running)


@pytest.fixture(scope="module")
def job(client, jpeg) -> str:
    return restored(client, jpeg)["id"]


def call(operation, mode, examples: int, id: str | None) -> None:
    @given(case=operation.as_strategy(mode))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case):
        if id is None:
            case.call_and_validate(checks=CHECKS)
            return
        # The id may have been all that was wrong.
        case.path_parameters["id"] = id
        case.call_and_validate(checks=[check for check in CHECKS if check is not negative_data_rejection])

    check()


def call_all(schema, path, method, job, examples: int) -> None:
    """With data as described and with other data; on a photo that is there and on ones that are not."""
    operation = schema[path][method]
    for mode in GenerationMode:
        if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body or "{" in path):
            continue
        call(operation, mode, examples, None)
        if "{id}" in path and method != "DELETE":
            call(operation, mode, examples, job)


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_no_request_breaks_the_server(schema, job, path, method):
    call_all(schema, path, method, job, 6)


@pytest.mark.long
@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_no_request_of_many_breaks_the_server(schema, job, path, method):
    call_all(schema, path, method, job, 400)
