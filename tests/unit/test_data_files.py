"""CIFAR-10 in both its forms, folders of classes, data of a user's function, archives: read right or named as wrong."""

import hashlib
import json
import re
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from quantloom.errors import DataError
from quantloom.quant.data import load_data
from quantloom.quant.fetch import SOURCES, Source, fetch, unpack

EACH = 20  # images in a file


@pytest.fixture(scope="module")
def cifar():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, EACH, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, (6, EACH), dtype=np.uint8)


def write_binary(root, cifar):
    for part, (images, labels) in enumerate(zip(*cifar, strict=True)):
        name = "test_batch.bin" if part == 5 else f"data_batch_{part + 1}.bin"
        body = np.concatenate([labels[:, None], images.reshape(EACH, -1)], axis=1)
        (root / name).write_bytes(body.astype(np.uint8).tobytes())


def write_sheets(root, cifar):
    images, labels = cifar
    for part in range(6):
        name = "test_batch.png" if part == 5 else f"data_batch_{part + 1}.png"
        Image.fromarray(images[part].transpose(0, 2, 3, 1).reshape(EACH, 1024, 3)).save(root / name)
    (root / "train_lables.json").write_text(json.dumps(labels[:5].flatten().tolist()))
    (root / "test_lables.json").write_text(json.dumps(labels[5].tolist()))


@pytest.mark.parametrize("write", [write_binary, write_sheets])
def test_both_forms_of_cifar10_are_the_same_data(tmp_path, cifar, write):
    write(tmp_path, cifar)
    data = load_data(f"cifar10:{tmp_path}")
    images, labels = cifar
    flat, flat_labels = torch.from_numpy(images[:5].reshape(-1, 3, 32, 32)), labels[:5].flatten()
    held_out = np.arange(5 * EACH) % 10 == 9
    assert torch.equal(data.train.images, flat[~held_out])
    assert torch.equal(data.validation.images, flat[held_out])
    assert data.validation.labels.tolist() == flat_labels[held_out].tolist()
    assert torch.equal(data.test.images, torch.from_numpy(images[5]))
    assert data.test.labels.tolist() == labels[5].tolist()
    assert len(data.classes) == 10
    image, _ = data.test[0]
    assert image[2, 5, 7] == pytest.approx((images[5, 0, 2, 5, 7] / 255 - 0.4465) / 0.2616, abs=1e-5)


def test_cifar10_that_is_missing_or_damaged_is_named(tmp_path, cifar):
    for text, message in (
        ("cifar10", "expected a directory behind the name"),
        (f"cifar10:{tmp_path / 'no'}", "no: no such directory"),
        (f"cifar10:{tmp_path}", "data_batch_1.bin: cannot read: No such file"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(text)
    write_binary(tmp_path, cifar)
    whole = (tmp_path / "data_batch_3.bin").read_bytes()
    for damaged, message in (
        (whole[:-1], "expected a multiple of 3073"),
        (b"\x0a" + whole[1:], r"labels lie in \d..10"),
    ):
        (tmp_path / "data_batch_3.bin").write_bytes(damaged)
        with pytest.raises(DataError, match=rf"data_batch_3\.bin: .*{message}"):
            load_data(f"cifar10:{tmp_path}")
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    write_sheets(sheets, cifar)
    for name, body, message in (
        ("test_batch.png", (sheets / "test_batch.png").read_bytes()[:3000], "corrupt image"),
        ("train_lables.json", b"[1, 2]", r"labels of shape \(2,\); expected 100"),
        ("train_lables.json", b"{", "cannot read the labels"),
    ):
        kept = (sheets / name).read_bytes()
        (sheets / name).write_bytes(body)
        with pytest.raises(DataError, match=rf"{re.escape(name)}: .*{message}"):
            load_data(f"cifar10:{sheets}")
        (sheets / name).write_bytes(kept)


def make_folder(root, splits=("train", "val"), each=12):
    for split in splits:
        for value, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                image = Image.new("RGB", (40, 30), (100 * value, number, 7))
                image.save(root / split / name / f"{number:02}.png")


def test_folders_are_split_scaled_and_cut(tmp_path):
    make_folder(tmp_path)
    data = load_data(f"folder:{tmp_path},size=16")
    assert data.classes == ("cat", "dog")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [22, 2, 24]
    held_out = {path for path, _ in data.validation.files}
    assert held_out.isdisjoint({path for path, _ in data.train.files})
    image, label = data.test[13]
    assert (image.shape, label) == ((3, 16, 16), 1)
    expected = torch.tensor([(100 / 255 - 0.485) / 0.229, (1 / 255 - 0.456) / 0.224, (7 / 255 - 0.406) / 0.225])
    assert torch.allclose(image.mean((1, 2)), expected, atol=1e-4)
    assert "2 classes, 22 train, 2 validation, 24 test images of 16 pixels" in data.description
    for option, mean, std in (("mean=0.5,std=0.25", 0.5, 0.25), ("mean=0.1/0.5/0.2,std=1/0.25/2", 0.5, 0.25)):
        image, _ = load_data(f"folder:{tmp_path},size=16,{option}").test[13]
        assert float(image[1].mean()) == pytest.approx((1 / 255 - mean) / std, abs=1e-4)
    make_folder(tmp_path, ("test",), each=3)
    assert [
        len(part) for part in (load_data(f"folder:{tmp_path}").validation, load_data(f"folder:{tmp_path}").test)
    ] == [24, 6]


def test_folders_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(DataError, match="expected a directory behind the name"):
        load_data("folder")
    with pytest.raises(DataError, match="expected the folders train and val"):
        load_data(f"folder:{tmp_path}")
    make_folder(tmp_path)
    for option, message in (
        ("size=2", "option `size=2`"),
        ("width=9", "option `width=9`"),
        *((each, f"option `{each}`") for each in ("mean=2", "mean=0.1/0.2", "mean=-1", "std=0", "std=1e99", "std=x")),
        ("size=32,resize=16", "below"),
    ):
        with pytest.raises(DataError, match=message):
            load_data(f"folder:{tmp_path},{option}")
    (tmp_path / "train" / "cat" / "00.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"cat/00\.png: corrupt image"):
        load_data(f"folder:{tmp_path}").train[0]
    (tmp_path / "val" / "bird").mkdir()
    with pytest.raises(DataError, match="class folders bird, which the train folder does not have"):
        load_data(f"folder:{tmp_path}")


CODE = """
import torch
from torch.utils.data import TensorDataset
def part(n, dtype=torch.float32, label=1):
    return TensorDataset(torch.zeros(n, 1, 4, 4, dtype=dtype), torch.full((n,), label))
def good():
    return {"train": part(8), "validation": part(3), "test": part(2), "classes": ["up", "down"]}
def lacking(): return {"train": part(8)}
def bytes_(): return good() | {"test": part(2, torch.uint8)}
def label(): return good() | {"validation": part(2, label=5)}
def empty(): return good() | {"train": part(0)}
def other(): return 3
def failing(): raise ValueError("no disk")
"""


def test_data_of_a_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_data_of_a_test.py").write_text(CODE)
    data = load_data("user_data_of_a_test:good")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [8, 3, 2]
    assert data.classes == ("up", "down")
    for function, message in (
        ("lacking", "the mapping lacks validation, test, classes"),
        ("bytes_", "first item of test is an image of torch.uint8"),
        ("label", "first item of validation .* with label 5"),
        ("empty", "train: the data set is empty"),
        ("other", "returned int"),
        ("failing", "ValueError: no disk"),
        ("absent", "has no function `absent`"),
    ):
        with pytest.raises(DataError, match=rf"data `user_data_of_a_test:{function}`: .*{message}"):
            load_data(f"user_data_of_a_test:{function}")
    with pytest.raises(DataError, match="No module named 'no_such_module_here'"):
        load_data("no_such_module_here:good")


@pytest.fixture
def archive(tmp_path):
    """A small archive and the source that describes it."""
    (tmp_path / "one.txt").write_text("first")
    (tmp_path / "two.txt").write_text("second")
    with tarfile.open(tmp_path / "small.tgz", "w:gz") as files:
        for name in ("one.txt", "two.txt"):
            files.add(tmp_path / name, f"package/{name}")
    digests = {f"package/{n}.txt": hashlib.sha256(t).hexdigest() for n, t in (("one", b"first"), ("two", b"second"))}
    common = {"name": "small", "what": "", "origin": "", "licence": "", "megabytes": 1, "archive": "*.tgz"}
    copy = ("cp", str(tmp_path / "small.tgz"), ".")
    return tmp_path / "small.tgz", Source(**common, command=copy, files=digests)


def test_archives_are_verified_before_anything_is_put_in_place(tmp_path, archive):
    path, source = archive
    out = tmp_path / "out"
    fetch(source, out)
    assert sorted(item.name for item in out.iterdir()) == ["one.txt", "two.txt"]
    (out / "one.txt").write_text("kept")
    wrong = replace(source, files={**source.files, "package/two.txt": "0" * 64})
    with pytest.raises(DataError, match=r"package/two\.txt has SHA-256 [0-9a-f]{64}; expected 0{64}"):
        unpack(wrong, path, out)
    assert sorted((item.name, item.read_text()) for item in out.iterdir()) == [
        ("one.txt", "kept"),
        ("two.txt", "second"),
    ]
    with pytest.raises(DataError, match="does not hold package/three"):
        unpack(replace(source, files={"package/three": "0" * 64}), path, out)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(source, path, out)
    with pytest.raises(DataError, match=r"absent\.tgz: no such file"):
        unpack(source, tmp_path / "absent.tgz", out)
    for command, message in ((("false",), "`false` fails"), (("no-such-program-here",), "is not installed")):
        with pytest.raises(DataError, match=message):
            fetch(replace(source, command=command), out)


def test_sources_name_files_by_their_digests():
    assert set(SOURCES) == {"cifar10", "fashion_mnist"}
    for source in SOURCES.values():
        assert source.licence
        assert source.origin
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in source.files.values())
