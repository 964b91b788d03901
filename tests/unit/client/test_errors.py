"""Errors of the service become exceptions, one type for each code."""

from __future__ import annotations

from orchestrator.client.errors import InternalError, ServiceError, service_error
from orchestrator.core.errors import LipSyncErrorCode


def test_every_code_has_a_type_of_its_own() -> None:
    types = {type(service_error(code, "why", recoverable=True)) for code in LipSyncErrorCode}
    assert len(types) == len(LipSyncErrorCode)
    assert ServiceError not in types


def test_an_unexpected_failure_of_the_service_is_an_internal_error() -> None:
    assert isinstance(service_error("INTERNAL", "why", recoverable=False), InternalError)


def test_a_code_of_a_later_service_is_a_plain_service_error() -> None:
    assert type(service_error("BRAND_NEW", "why", recoverable=True)) is ServiceError
