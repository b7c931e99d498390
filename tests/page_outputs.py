"""Whether what a page shows as output is what was printed."""

import re

MASKS = (  # what is another in every run
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"), "<time>"),
    (re.compile(r"\b\d[\d,.]*(?:e-?\d+)? ?(?:s|ms|min|seconds?|minutes?)\b"), "<duration>"),
    (re.compile(r"\b\d[\d,.]* \w+ a second\b"), "<rate>"),
    (re.compile(r"(?<![\w.])(?:/[\w.@+-]+){2,}"), "<path>"),
)
NUMBER = re.compile(r"((?:(?<![\w)])[-+])?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?%?)")


def difference(shown: str, printed: str) -> str | None:
    """Say where `printed` is not what `shown` promises, or None.

    `...` on a line of its own stands for any lines, at a line's end for its rest. Space counts only as space. Times and
    absolute paths are left out. Numbers are compared by `close`, because the last digits are another machine's.
    """
    parts: list[list[str]] = [[]]
    for line in _lines(shown):
        if line == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    lines, first = _lines(printed), 0
    for number, part in enumerate(parts):
        last = len(lines) - len(part)
        ends = number == len(parts) - 1
        starts = range(first, last + 1) if number else [0]
        start = next((at for at in ([last] if ends and number else starts) if _same(part, lines, at, first)), None)
        if start is None or (ends and start != last):
            return f"shown:\n{shown}\nprinted:\n{printed}"
        first = start + len(part)
    return None


def _same(part: list[str], lines: list[str], at: int, first: int) -> bool:
    found = lines[at : at + len(part)] if at >= first else []
    return len(found) == len(part) and all(map(same_line, part, found))


def same_line(shown: str, printed: str) -> bool:
    """Tell whether one line is the other, which may go on where `shown` ends in dots."""
    if shown.endswith("..."):
        shown = shown.removesuffix("...").rstrip()
        return any(_alike(shown, printed[:end].rstrip()) for end in range(len(printed) + 1))
    return _alike(shown, printed)


def _alike(shown: str, printed: str) -> bool:
    pieces = NUMBER.split(shown), NUMBER.split(printed)
    words, numbers = ([one[at::2] for one in pieces] for at in (0, 1))
    return words[0] == words[1] and all(map(close, *numbers))


def close(shown: str, printed: str) -> bool:
    """Tell whether two numbers are one but for rounding.

    Whole ones are equal up to 100,000, above to 5 digits, and percentages to 1; others to 3 of the last digit shown, or
    4 digits where more are shown, or 1e-8, below which there is nothing but rounding.
    """
    one, other = (float(text.replace(",", "").rstrip("%")) for text in (shown, printed))
    digits, _, exponent = shown.rstrip("%").replace(",", "").partition("e")
    decimals = len(digits.partition(".")[2])
    if "." in digits or exponent:
        allowed = max(3 * 10.0 ** (int(exponent or 0) - decimals), 1e-4 * abs(one), 1e-8)
    else:
        allowed = 1 if shown.endswith("%") else 1e-5 * abs(one)
    return abs(one - other) <= allowed * (1 + 1e-9)


def _lines(text: str) -> list[str]:
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
