"""The decoder refuses what is no plain YAML, quickly, and the reader tells every mistake with its place."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quantloom.errors import SpecError
from quantloom.spec import yaml_nodes
from quantloom.spec.reader import Field, closest, read_document, show
from quantloom.spec.yaml_nodes import MappingNode, Problems, ScalarNode, SequenceNode, decode, quote, read_text

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    monkeypatch.setattr(yaml_nodes, "_LOADER", request.param)
    return request.param


def decode_text(text: str) -> yaml_nodes.Node:
    problems = Problems("f.yaml")
    node = decode(text, problems)
    problems.raise_if_any()
    return node


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        decode_text(text)
    return str(caught.value)


def test_nodes_know_line_and_column(loader: type) -> None:
    root = decode_text("a: 1\nb:\n  - x\n  - 'y'\n")
    assert isinstance(root, MappingNode)
    (key, value), (_, items) = root.entries
    assert (key.text, key.line, key.column) == ("a", 1, 1)
    assert value == ScalarNode(line=1, column=4, text="1", plain=True)
    assert isinstance(items, SequenceNode)
    assert [(item.line, item.column) for item in items.items] == [(3, 5), (4, 5)]
    assert [item.plain for item in items.items if isinstance(item, ScalarNode)] == [True, False]


def test_json_is_read(loader: type) -> None:
    root = decode_text('{"dims": {"N": 1, "no": [1, 2.5e3]}}')
    assert isinstance(root, MappingNode)
    assert root.entries[0][0].text == "dims"


def test_aliases_repeat_their_node(loader: type) -> None:
    root = decode_text("a: &x {k: [1]}\nb: *x\n")
    assert isinstance(root, MappingNode)
    assert root.entries[0][1] is root.entries[1][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# only a comment\n", "f.yaml:1:1: the file is empty"),
        ("a: 1\na: 2\n", "f.yaml:2:1: duplicate key `a`, first at f.yaml:1:1"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here, expected one"),
        ("a: *x\n", 'f.yaml:1:4: alias "*x" names nothing that ended before it'),
        ("a: &x [*x]\n", 'f.yaml:1:8: alias "*x" names nothing that ended before it'),
        (
            "a:\n  !!python/object/apply:os.system ['true']\n",
            'f.yaml:2:3: tag "tag:yaml.org,2002:python/object/apply:os.system" is not read\n'
            "  hint: remove the tag; plain values are enough",
        ),
        ("a: 1\n[b]: 2\n", "f.yaml:2:1: a key is a list or a mapping, expected text"),
        ("a: &x {k: 1}\nb:\n  <<: *x\n", "f.yaml:3:3: merge keys (`<<`) are not read\n  hint: write the keys out"),
        (
            "a: 1\na: 2\n? [x]\n: 3\n",
            "f.yaml:2:1: duplicate key `a`, first at f.yaml:1:1\n"
            "f.yaml:3:3: a key is a list or a mapping, expected text",
        ),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(loader: type, text: str, message: str) -> None:
    assert error_of(text) == message


def test_syntax_errors_name_line_and_column(loader: type) -> None:
    assert error_of("a: 1\nb: c: d\n").startswith("f.yaml:2:5: not valid YAML: mapping values are not allowed")
    assert error_of("a:\n\t- 1\n").endswith("\n  hint: YAML is indented with spaces; this line has a tab")
    assert error_of("ok: 1\nbad: \x07\n").startswith("f.yaml:2:6: not valid YAML: ")
    assert error_of("a: \ud800").startswith("f.yaml:1:4: holds a lone surrogate")
    assert error_of('a: "\\UFFFFFFFF"\n').startswith(("f.yaml:1:1: not valid YAML", "f.yaml:1:7: not valid YAML"))


@pytest.mark.timeout(60)  # expanded, it would take for ever
def test_alias_bomb_is_refused(loader: type) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    message = error_of("\n".join(lines))
    assert message == "f.yaml:6:10: more than 200000 values (aliases counted in full), the most that is read"


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "".join(" " * i + "a:\n" for i in range(100))],
    ids=["brackets", "dashes", "braces", "block"],
)
@pytest.mark.timeout(60)
def test_deep_nesting_is_refused(loader: type, text: str) -> None:
    assert error_of(text).endswith("nested more than 64 deep, the most that is read")


def test_aliases_cannot_hide_depth(loader: type) -> None:
    chain = "[" * 40 + "]" * 40
    text = f"a: &a {chain}\nb: " + "[" * 30 + "*a" + "]" * 30
    assert error_of(text) == "f.yaml:2:34: nested more than 64 deep, the most that is read"


def test_too_many_values_are_refused() -> None:
    assert "more than 200000 values" in error_of("[" + "1," * 200_001 + "]")


def test_unreadable_files_are_told_with_their_path(tmp_path: Path) -> None:
    cases = {
        "missing.yaml": (None, "cannot be read: No such file or directory"),
        "latin.yaml": (b"a: 1\nb: \xe9\n", ":2:4: byte 0xe9 is not UTF-8 text\n  hint: save the file as UTF-8"),
        "large.yaml": (b" " * (yaml_nodes.MAX_BYTES + 1), "larger than 4 MiB, the most that is read"),
    }
    for name, (data, message) in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(SpecError) as caught:
            read_text(path)
        assert str(caught.value).startswith(str(path))
        assert str(caught.value).endswith(message)
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_text("a\0b")


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_text(path) == "a: 1\n"


@given(st.binary(max_size=200))
def test_any_bytes_give_nodes_or_a_spec_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    with contextlib.suppress(SpecError):
        decode_text(read_text(path))


@given(st.text(alphabet="ab01:-?[]{},&*!|>'\"%@`#\\\n\t \ud800\x07é~<", max_size=60), st.sampled_from(LOADERS))
def test_any_text_gives_nodes_or_a_spec_error(text: str, loader: type) -> None:
    before = yaml_nodes._LOADER
    yaml_nodes._LOADER = loader
    try:
        with contextlib.suppress(SpecError):
            decode_text(text)
    finally:
        yaml_nodes._LOADER = before


@given(st.text(max_size=30))
def test_quoted_text_reads_back(text: str) -> None:
    surrogates = any(0xD800 <= ord(char) <= 0xDFFF for char in text)
    if not surrogates:
        root = decode_text(f"k: {quote(text)}")
        assert isinstance(root, MappingNode)
        value = root.entries[0][1]
        assert isinstance(value, ScalarNode)
        assert value.text == text


def problems_of(text: str, read: object) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_document(text, "f.yaml", read)  # type: ignore[arg-type]
    return str(caught.value).splitlines()


def test_every_mistake_is_told_at_once_and_by_line() -> None:
    text = "wrods: 3\nwords: many\nbandwidth: -1\nbits: 64\nflag: 1\nitems: {a: 1}\n"

    def read(root: Field) -> None:
        record = root.record(("words", "bandwidth", "bits", "flag", "items", "name"))
        record.number("bandwidth", 1.0)
        record.integer("words", 1)
        record.integer("bits", 1, maximum=32)
        for key, method in (("flag", Field.boolean), ("items", Field.items)):
            found = record.optional(key)
            assert found is not None
            method(found)
        record.required("name", "a name")

    assert problems_of(text, read) == [
        "f.yaml:1:1: wrods: unknown key",
        "  hint: did you mean `words`?",
        "f.yaml:1:1: key `name` is missing, expected a name",
        "f.yaml:2:8: words: read `many`, expected an integer of at least 1",
        "f.yaml:3:12: bandwidth: read `-1`, expected a number of at least 0",
        "f.yaml:4:7: bits: read `64`, expected an integer 1..32",
        "f.yaml:5:7: flag: read `1`, expected true or false",
        "f.yaml:6:8: items: read a mapping, expected a list",
    ]


@pytest.mark.parametrize(
    "text",
    ["012", "1.0", '"1"', "1e3", "0x10", "0", "-3", "true", "[1]", "9" * 30, "9" * 5000, "1099511627777", "1__0"],
)
def test_integers_are_plain_digits_within_range(text: str) -> None:
    (line,) = problems_of(f"n: {text}", lambda root: root.record(("n",)).integer("n", 1))
    assert line.startswith("f.yaml:1:4: n: read ")
    assert "expected an integer" in line


@pytest.mark.parametrize("text", [".inf", "nan", "1e999", "-0.1", "1.5x", '"2"', "9" * 41])
def test_numbers_are_finite(text: str) -> None:
    (line,) = problems_of(f"n: {text}", lambda root: root.record(("n",)).number("n", 1.0))
    assert line.endswith("expected a number of at least 0")


def test_numbers_keep_every_digit() -> None:
    seen: list[float] = []
    text = "n: [0.9811557788944724, 512, 1e-3, .5, 1_000]"
    problems = problems_of(text, lambda root: seen.extend(item.number() for item in root.entries()[0][1].items()))
    assert seen == [0.9811557788944724, 512.0, 0.001, 0.5, 0.0]
    assert problems == ["f.yaml:1:40: n[4]: read `1_000`, expected a number of at least 0"]


def test_long_lists_of_mistakes_are_cut() -> None:
    text = "\n".join(f"k{i}: 1" for i in range(40))
    lines = problems_of(text, lambda root: root.record(()))
    assert lines[-1] == "f.yaml: ... and 15 more problems"
    assert len(lines) == 51


def test_reading_stops_at_a_hundred_mistakes() -> None:
    text = "\n".join(f"k{i}: 1" for i in range(90_000))
    lines = problems_of(text, lambda root: root.record(("known", "keys")))
    assert lines[-1] == "f.yaml: ... and at least 75 more problems"


def test_shown_text_is_short_and_printable() -> None:
    assert show("a\nb\x1b") == "`a\\nb\\x1b`"
    assert show("x" * 100) == f"`{'x' * 57}...`"


def test_closest_ignores_case() -> None:
    assert closest("weights", ["Weights", "Inputs"]) == "Weights"
    assert closest("zzz", ["Weights", "Inputs"]) is None


@pytest.mark.parametrize("text", ["64KB", "16 bits", "2.2 nJ", "1e-3pJ", "50%", "3um2"])
def test_a_number_with_its_unit_is_told_to_stand_alone(text: str) -> None:
    for read in (Field.integer, Field.number):
        with pytest.raises(SpecError) as caught:
            read_document(f"n: {text}\n", "f.yaml", lambda root, read=read: read(root.entries()[0][1]))
        assert str(caught.value).endswith("hint: write the number alone; its unit is fixed by the key")
