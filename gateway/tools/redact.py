"""Taking the secrets that Laneway knows out of texts before they are stored (spec/architecture.md, protocol 10)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
MIN_SECRET = 6
"""Characters. Shorter values would also hit harmless text, and protect nothing."""


class Redactor:
    """Replaces secrets, and the forms that tools are likely to show them in. Built once for each configuration."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret.strip() for secret in secrets}
        forms = {form for secret in known if len(secret) >= MIN_SECRET for form in _forms(secret)}
        # The longest first, so that a secret that begins with another one is taken whole.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """The text without secrets; the same object if there are none."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


def _forms(secret: str) -> set[str]:
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
    return forms | _base64_forms(secret.encode())


def _base64_forms(data: bytes) -> set[str]:
    """What base64 makes of the secret at each of the three places that it can have in a longer text."""
    forms: set[str] = set()
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * lead + data).decode().rstrip("=")
            # Characters at both ends also depend on the neighbours; the certain middle is enough to know it by.
            start = (0, 2, 3)[lead]
            end = len(text) if (lead + len(data)) % 3 == 0 else len(text) - 1
            if end - start >= MIN_SECRET + 2:
                forms.add(text[start:end])
    return forms
