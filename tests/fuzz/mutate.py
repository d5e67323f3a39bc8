"""Random changes of texts and bytes, from a seed: what people mistype, and what nobody should send."""

from __future__ import annotations

import re
from random import Random

HOSTILE = (
    *("", "~", "null", "true", "no", "0", "-0", "-1", "1", "1e400", "-1e-400", ".inf", ".nan", "0x10", "1_000", "0o7"),
    *("2147483648", "2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1" * 400),
    *("1.5", "1e308", "5e-324", "[]", "{}", "[[]]", "{a: [}", "*a", "&a [*a]", "<<: *a", "!!python/object:os.system x"),
    *('"', "'", "#", "%", "@", "`", "|", ">", "---", "...", "? a", "- ", ": ", "\t", "\0", "\x85", "\ufeff", "\ud7ff"),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "a/b",
        "<script>",
        "$(id)",
        "%s%n",
        "{0}",
        "x" * 5000,
        "[" * 200,
        "[" * 9000,
        "{a: " * 100,
    ),
    *("unlimited", "DRAM", "Weights", "Inputs", "Outputs", "C", "M", "N", "P", "Q", "R", "S", "G", "name", "levels"),
)
TOKEN = re.compile(r"[\w.+-]+|[^\w\s]")


def changed_text(text: str, rng: Random, others: list[str]) -> str:
    """The text with one to four changes. others: texts to take lines and words from."""
    for _ in range(rng.randint(1, 4)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        kind = rng.randrange(10)
        if kind == 0:
            del lines[at : at + rng.choice((1, 1, 2, 8))]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[at] = " " * rng.randrange(6) + lines[at].lstrip()
        elif kind == 3:
            lines.insert(at, rng.choice(rng.choice(others).split("\n")))
        elif kind == 4:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)] + rng.choice(HOSTILE)
        elif kind == 5:
            begin = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:begin] + chr(rng.choice((0, 7, 10, 34, 39, 58, 123, 0x85, 0x2028, 0x1F600)))
        else:
            lines[at] = changed_token(lines[at], rng, others)
        text = "\n".join(lines)
    return text


def changed_token(line: str, rng: Random, others: list[str]) -> str:
    tokens = list(TOKEN.finditer(line))
    if not tokens:
        return line + rng.choice(HOSTILE)
    token = rng.choice(tokens)
    source = TOKEN.findall(rng.choice(others)) if rng.random() < 0.3 else None
    put = rng.choice(source) if source else rng.choice(HOSTILE)
    if token.group().isdigit() and rng.random() < 0.5:
        put = str(rng.choice((int(token.group()) + 1, int(token.group()) * 2, 0, 1, 3, 7, 1 << 31, 1 << 40)))
    return line[: token.start()] + put + line[token.end() :]


def changed_bytes(data: bytes, rng: Random) -> bytes:
    """The bytes cut, overwritten, taken out, doubled or with others in between."""
    changed = bytearray(data)
    at = rng.randrange(len(changed) + 1)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(changed[:at])
    if kind == 1:
        for _ in range(rng.randrange(1, 6)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    elif kind == 2:
        del changed[at : at + rng.randrange(1, 40)]
    elif kind == 3:
        changed[at:at] = rng.randbytes(rng.randrange(1, 12))
    else:
        source, size = rng.randrange(len(changed)), rng.randrange(1, 200)
        changed[at : at + size] = changed[source : source + size]
    return bytes(changed)
