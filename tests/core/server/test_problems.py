"""Errors as problem JSON: each kind has its status, says what it knows, and nothing that it shouldn't."""

from __future__ import annotations

import json
import logging

import pytest

from fs_core import errors
from fs_core.server.problems import problem_of

STATUSES = {
    errors.ConfigurationError: 422,
    errors.CorruptRowError: 500,
    errors.DeadlineExceededError: 504,
    errors.DefinitionError: 422,
    errors.FeatureStoreError: 500,
    errors.MomentNotOnlineError: 409,
    errors.NotOnlineError: 409,
    errors.OfflineStoreError: 500,
    errors.OnlineStoreError: 500,
    errors.OnlineUnavailableError: 503,
    errors.RegistryError: 503,
    errors.SchemaError: 422,
    errors.TransformCodeError: 500,
    errors.TransformError: 422,
    errors.UnknownReferenceError: 404,
    errors.ValidationError: 422,
    TimeoutError: 504,
    RuntimeError: 500,
}


@pytest.mark.parametrize("kind", STATUSES, ids=lambda kind: kind.__name__)
def test_each_error_has_its_status(kind: type[Exception]) -> None:
    """The caller's faults are 4xx, the server's 5xx; a function that fails for what was sent is the caller's."""
    answer = problem_of(kind("what is wrong"))
    body = json.loads(answer.body)
    assert (answer.status_code, body["status"]) == (STATUSES[kind], STATUSES[kind])
    assert answer.media_type == "application/problem+json"
    assert body["title"]
    assert body["type"].startswith("urn:fs:error:")
    if issubclass(kind, errors.FeatureStoreError):
        assert (body["detail"], body["type"]) == ("what is wrong", f"urn:fs:error:{kind.__name__}")


def test_what_nobody_expected_is_logged_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The answer to an error that isn't ours says nothing of it; the log does."""
    with caplog.at_level(logging.ERROR, "fs_core"):
        answer = problem_of(RuntimeError("secret"))
    assert "secret" not in bytes(answer.body).decode()
    assert "secret" in caplog.text


def test_notes_and_odd_text_are_told() -> None:
    """Notes of an error are part of its detail; half of a surrogate pair is written as its escape."""
    error = errors.OnlineUnavailableError("half: \ud800")
    error.add_note("The rows are safe in history.")
    answer = problem_of(error)
    assert json.loads(answer.body)["detail"] == "half: \ud800\nThe rows are safe in history."
    assert answer.headers["retry-after"] == "1"
