"""The route table and what is made from it: docs/http.md, and the OpenAPI document."""

from __future__ import annotations

import pytest
from project_root import ROOT

from orchestrator.server.http.openapi import ERRORS, document
from orchestrator.server.http.route import Route
from orchestrator.server.http.routes import ROUTES

PAGE = (ROOT / "docs" / "http.md").read_text()
HEADING = (
    "| method | path | use | request body | response | errors | long "
    "|\n|---|---|---|---|---|---|---|"
)


def _row(route: Route) -> str:
    responses = [
        " ".join((str(outcome.status), *(outcome.content or ()))) for outcome in route.outcomes
    ]
    cells = (
        route.method,
        f"`{route.template}`",
        route.summary,
        ", ".join(route.body or ()),
        ", ".join(responses),
        " ".join(map(str, route.error_statuses)),
        "long" if route.is_long else "",
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def test_the_table_of_the_page_is_the_route_table() -> None:
    expected = "\n".join((HEADING, *map(_row, ROUTES)))
    assert expected in PAGE, f"put this table into docs/http.md:\n{expected}"


def test_no_operation_is_in_the_table_twice() -> None:
    operations = [(route.method, route.template) for route in ROUTES]
    assert len(operations) == len(set(operations))


def test_a_template_has_the_parameters_of_its_path_without_their_patterns() -> None:
    (files,) = (route for route in ROUTES if route.path.startswith("/demo/"))
    assert (files.path, files.template) == ("/demo/{file:.+}", "/demo/{file}")
    assert files.path_parameters == ("file",)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}")
def test_routes_below_v1_need_a_token_where_there_are_tokens(route: Route) -> None:
    described = document(ROUTES)["paths"][route.template][route.method.lower()]
    is_open = not route.path.startswith("/v1/") or route.path == "/v1/openapi.json"
    assert route.is_guarded is not is_open
    assert ("401" in described["responses"]) is not is_open
    assert ("security" in described) is is_open


def test_every_described_error_occurs_in_a_route_and_every_route_uses_described_ones() -> None:
    assert {status for route in ROUTES for status in route.error_statuses} == ERRORS.keys()
