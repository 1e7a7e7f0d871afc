"""The OpenAPI document: it names all there is, and whatever is asked by it, or against it, is answered as it says."""

import subprocess
import sys
from pathlib import Path

import pytest
from starlette.routing import Route

from engine.http.app import http_app
from engine.http.operations import PREFIX
from tests.engine.http.conftest import Serve
from tests.engine.http.served import TOKEN, milling

pytestmark = pytest.mark.anyio
DOCUMENT = f"{PREFIX}/openapi.json"


async def test_the_document_names_every_route_of_the_api_and_no_other() -> None:
    async with milling() as (_, engine, client):
        described = (await client.get(DOCUMENT)).json()
        routes = [route for route in http_app(engine).routes if isinstance(route, Route)]
    there = {
        (method, route.path.replace(":path}", "}"))
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
        if route.path.startswith(PREFIX) and route.path != DOCUMENT
    }
    assert described["openapi"].startswith("3.1")
    assert {(method.upper(), path) for path, each in described["paths"].items() for method in each} == there


async def test_every_operation_says_whether_it_needs_the_token() -> None:
    async with milling() as (_, _, client):
        described = (await client.get(DOCUMENT)).json()
    for path, each in described["paths"].items():
        for method, operation in each.items():
            guarded = operation["security"] == [{"token": []}]
            assert guarded == (method == "post" or "/dead" in path or "/tap" in path)
            assert ("401" in operation["responses"]) == guarded


@pytest.mark.timeout(180)
def test_schemathesis_finds_no_fault_of_the_server_and_no_answer_that_is_not_described(
    serve: Serve, tmp_path: Path
) -> None:
    url, _ = serve(f"--http 127.0.0.1:0 --token {TOKEN}")
    command = [str(Path(sys.executable).parent / "st"), "run", f"{url}{DOCUMENT}", "--no-color"]
    command += ["-H", f"Authorization: Bearer {TOKEN}", "--max-examples", "10", "--generation-deterministic"]
    for path in ("drain", "events", "tap"):  # the first ends the engine, the others do not end
        command += ["--exclude-path", f"{PREFIX}/{path}"]
    command += ["--phases", "examples,coverage,fuzzing", "--request-timeout", "20"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
