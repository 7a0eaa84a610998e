"""Text that can be stored and shown."""

# Embeddings, overrides and isolates: they turn round what a page shows after them.
_DIRECTIONS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def as_line(text: str, length: int = 500) -> str:
    """Return a name as a page shows it: one line, at most `length` characters, without controls
    that change the direction of text."""
    return truncate(" ".join(text.translate(_DIRECTIONS).split()), length)


def truncate(text: str, length: int = 500) -> str:
    """Return at most `length` characters of `text`; an ellipsis shows that some are missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def truncate_middle(text: str, length: int) -> str:
    """Return at most `length` characters of `text`, from its beginning and its end."""
    if len(text) <= length:
        return text
    half = (length - 3) // 2
    return f"{text[:half]} … {text[len(text) - (length - 3 - half) :]}"


def safe_repr(value: object, length: int = 200) -> str:
    """Return at most `length` characters of the repr of any value, even if its repr raises."""
    try:
        return truncate(repr(value), length)
    except Exception:
        return f"<{type(value).__name__}>"


def reason_of(error: Exception) -> str:
    """Return why something failed; of an OSError without its number and path, which tell a visitor
    nothing but how the server is built."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def format_duration(seconds: float) -> str:
    """Return seconds as people write them: "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 1:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def sanitize(text: str) -> str:
    """Return `text` with replacements for characters that some databases refuse.

    These are NUL, and lone surrogates, which come from file names in another encoding.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
