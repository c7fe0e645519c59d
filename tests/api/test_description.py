"""The OpenAPI document, and the pages to read it in."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from openapi_spec_validator import OpenAPIV31SpecValidator

from speechportal.api import docs
from tests.clients import Client

METHODS = {"get", "post", "put", "patch", "delete"}
# In a fixed order: Django REST framework keeps an address's methods in a set.
OPERATIONS = sorted(
    (
        (f"{method} {path}", operation)
        for path, methods in docs.document()["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ),
    key=lambda named: named[0],
)


def test_it_is_openapi_3_1() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _operation in OPERATIONS])
def test_every_operation_says_what_it_does_and_how_it_fails(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["security"] == [{"token": []}]
    assert {"400", "401", "403", "429"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            assert list(response["content"]) == ["application/problem+json"]
    if name.split()[0] in {"post", "patch", "put"} and "requestBody" in operation:
        assert operation["requestBody"]["content"]


def test_examples_fit_their_schemas() -> None:
    document = docs.document()
    checked = 0
    for name, operation in OPERATIONS:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = {**content["schema"], "components": document["components"]}
            for example in content.get("examples", {}).values():
                jsonschema.Draft202012Validator(schema).validate(example["value"])
                checked += 1
        assert name
    assert checked >= 6


def test_schemas_have_names_of_their_own() -> None:
    docs.document()
    assert not GENERATOR_STATS  # It collects the generator's warnings, such as two schemas of one name.


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _name, operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", ["/api/v1/docs", "/api/v1/redoc"])
def test_the_pages_need_nobody_elses_server_and_no_inline_script(path: str) -> None:
    page = Client().get(path)
    text = page.content.decode()
    assert page.status_code == 200
    assert re.findall(r"(?:src|href|spec-url|data-document)=\"(?!/)[^\"]*\"", text) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"\son[a-z]+=", text) == []
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    for address in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", text):
        assert Client().get(address).status_code == 200, address
