"""`openapi.json`: the endpoints described in OpenAPI 3.1, made of their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from gateway.page.endpoint import Document, Endpoint, Problem

_REF = "#/components/schemas/{model}"
_MERGE_PATCH = "application/merge-patch+json"
# Whatever the endpoint: the key is asked for before it, and parts may be out of order.
_ALWAYS = {500: "The gateway failed; its log says why"}


def describe(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """Return the description of *endpoints*, complete but for the `servers`."""
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
        (Problem, "serialization", TypeAdapter(Problem))
    ]
    for number, endpoint in enumerate(endpoints):
        inputs.append(((number, "answer"), "serialization", TypeAdapter(endpoint.answer)))
        for part, of in (("query", endpoint.query), ("body", endpoint.body)):
            if of is not None:
                inputs.append(((number, part), "validation", TypeAdapter(of)))
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    schemas = {key: schema for (key, _), schema in found.items()}
    components = dict(definitions.get("$defs", {}))
    paths: dict[str, Any] = {}
    for number, endpoint in enumerate(endpoints):
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            endpoint,
            schemas[number, "answer"],
            schemas[Problem],
            _resolved(schemas.get((number, "query")), components),
            schemas.get((number, "body")),
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NZB Gateway",
            "version": version,
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "query": {"type": "apiKey", "in": "query", "name": "apikey"},
            },
        },
        "security": [{"header": []}, {"query": []}],
    }


def _operation(
    endpoint: Endpoint, answer: Any, problem: Any, query: Any, body: Any
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    for name, schema in (query or {}).get("properties", {}).items():
        required = name in query.get("required", ())
        parameters.append({"name": name, "in": "query", "required": required, "schema": schema})
    refusals = {**_ALWAYS, **(endpoint.refusals or {})}
    if body is not None or query is not None:
        refusals.setdefault(400, "What was sent is not of that form, or cannot be done")
    answers: dict[str, Any] = {
        str(endpoint.status): {
            "description": HTTPStatus(endpoint.status).phrase,
            "content": {endpoint.content_type: {"schema": _of_answer(endpoint, answer)}},
        }
    }
    for status, words in sorted(refusals.items()):
        content = {"application/json": {"schema": problem}}
        answers[str(status)] = {"description": words, "content": content}
    answers["403"] = {"description": "The API key is missing or wrong"}
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "responses": answers,
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        kinds = ["application/json", *([_MERGE_PATCH] if endpoint.method == "PATCH" else [])]
        operation["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": body} for kind in kinds},
        }
    return operation


def _of_answer(endpoint: Endpoint, schema: Any) -> Any:
    # Bytes as they are have no schema but their type (OpenAPI 3.1, "Considerations for Files").
    return {} if endpoint.answer is Document else schema


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", endpoint.path)
    return endpoint.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _resolved(schema: Any, components: dict[str, Any]) -> Any:
    if schema and "$ref" in schema:
        return components[schema["$ref"].rpartition("/")[2]]
    return schema
