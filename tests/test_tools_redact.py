"""Secrets don't get into what is stored."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.redact import REDACTED, Redactor

SECRET = "sk-live/9+x=é&a b"  # noqa: S105 - made up


@pytest.mark.parametrize("lead", ["", "x", "xy", "user:"])
def test_known_secrets_in_their_usual_forms(lead: str) -> None:
    redactor = Redactor([SECRET, "short"])
    assert redactor.clean(f"key={SECRET};") == f"key={REDACTED};"
    for form in (
        quote(SECRET, safe=""),
        base64.b64encode(f"{lead}{SECRET}!".encode()).decode(),
        base64.urlsafe_b64encode(f"{lead}{SECRET}".encode()).decode(),
    ):
        assert REDACTED in redactor.clean(f"<{form}>")
    assert redactor.clean("a short text") == "a short text"


def test_nothing_to_do_costs_nothing() -> None:
    text = "x" * 100
    assert Redactor([]).clean(text) is text and Redactor([SECRET]).clean(text) == text


def test_the_longer_secret_goes_whole() -> None:
    assert Redactor(["abcdefgh", "abcdefgh-ijkl"]).clean("abcdefgh-ijkl") == REDACTED


@given(st.text(), st.text(min_size=6), st.text())
def test_a_secret_never_stays(before: str, secret: str, after: str) -> None:
    cleaned = Redactor([secret]).clean(before + secret + after)
    kept = secret.strip()
    if len(kept) >= 6 and kept not in REDACTED and REDACTED not in kept:
        assert cleaned.count(kept) <= (before + REDACTED + after).count(kept)
