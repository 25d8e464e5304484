"""The nearest known word to a mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def fold(key: str) -> str:
    """A key without the differences of camelCase and snake_case."""
    return key.replace("_", "").replace("-", "").lower()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be; None where none is near."""
    by_fold = {fold(key): key for key in known}
    # Only the beginning counts: comparing costs the square of the length, and a longer key is no slip.
    match = get_close_matches(fold(word[:64]), by_fold, n=1, cutoff=0.6)
    return by_fold[match[0]] if match else None
