"""Data sets: what is read, how it is split, and what is said of files that are missing or damaged."""

import gzip
import struct

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from quantloom.errors import DataError
from quantloom.quant.data import ImageDataset, first_images, load_data, spread_images, spread_subset
from quantloom.quant.idx import read_idx

TRAIN, TEST = 24, 6


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def files(tmp_path):
    """A small data set of the form of Fashion-MNIST; the file names map to their arrays."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count, dtype=np.uint8)
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx_bytes(array))
    return tmp_path, arrays


def test_splits_are_disjoint_parts_of_the_files(files):
    root, arrays = files
    data = load_data(f"fashion_mnist:{root}")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [22, 2, 6]
    together = torch.cat([data.train.images, data.validation.images]).squeeze(1).numpy()
    assert np.array_equal(together, arrays["train-images-idx3-ubyte"])
    assert np.array_equal(data.test.labels.numpy(), arrays["t10k-labels-idx1-ubyte"])
    assert len(data.classes) == 10
    assert str(root) in data.description


def test_items_are_normalised_images_with_labels(files):
    root, arrays = files
    data = load_data(f"fashion_mnist:{root}")
    image, label = data.test[3]
    expected = (arrays["t10k-images-idx3-ubyte"][3] / 255 - 0.2860) / 0.3530
    assert image.shape == (1, 28, 28)
    assert image.dtype == torch.float32
    assert np.allclose(image[0].numpy(), expected, atol=1e-6)
    assert label == arrays["t10k-labels-idx1-ubyte"][3]
    images, labels = first_images(data.test, 4)
    assert torch.equal(images[3], image)
    assert labels[3] == label
    assert len(first_images(data.test)[1]) == TEST


def test_gzipped_and_plain_files_are_the_same(files):
    root, arrays = files
    plain = load_data(f"fashion_mnist:{root}")
    for name in arrays:
        (root / f"{name}.gz").write_bytes(gzip.compress((root / name).read_bytes()))
        (root / name).unlink()
    packed = load_data(f"fashion_mnist:{root}")
    assert torch.equal(plain.train.images, packed.train.images)
    assert torch.equal(plain.test.labels, packed.test.labels)


def test_any_dataset_can_be_read():
    dataset = TensorDataset(torch.randn(5, 3, 4, 4), torch.arange(5))
    images, labels = first_images(dataset, 3)
    assert images.shape == (3, 3, 4, 4)
    assert labels.tolist() == [0, 1, 2]
    assert spread_images(dataset, 3)[1].tolist() == [0, 1, 3]
    assert spread_images(dataset)[1].tolist() == spread_images(dataset, 9)[1].tolist() == [0, 1, 2, 3, 4]
    few = spread_subset(spread_subset(dataset, 4), 3)
    assert [label for _, label in few] == first_images(few)[1].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="empty"):
        first_images(TensorDataset(torch.zeros(0, 1), torch.zeros(0)))
    with pytest.raises(DataError, match=r"different shapes in one split: \(1, 4, 4\), \(1, 5, 5\)"):
        first_images([(torch.zeros(1, 4, 4), 0), (torch.zeros(1, 5, 5), 1)])


def test_missing_directory_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no_such: no such directory.*\n.*apt install dataset-fashion-mnist"):
        load_data(f"fashion_mnist:{tmp_path / 'no_such'}")


def test_missing_file_is_named(files):
    root, _ = files
    (root / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: no such file, with or without"):
        load_data(f"fashion_mnist:{root}")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"starts with bytes \(none\); expected an IDX file of unsigned bytes with records of shape \(28, 28\)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "starts with bytes 89 50 4e 47; expected an IDX file"),
        (idx_bytes(np.zeros((2, 32, 32), np.uint8)), r"array of shape \(2, 32, 32\); expected .* \(28, 28\)"),
        (idx_bytes(np.zeros((2, 28), np.uint8)), "starts with bytes 00 00 08 02"),
        (idx_bytes(np.zeros((0, 28, 28), np.uint8)), r"array of shape \(0, 28, 28\)"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 28, 28), r"array of shape \(4294967295, 28, 28\)"),
        (idx_bytes(np.zeros((3, 28, 28), np.uint8))[:-5], "promises 2352 bytes .* holds only 2347"),
        (idx_bytes(np.zeros((3, 28, 28), np.uint8)) + b"x", "promises 2352 bytes .* holds more"),
        (gzip.compress(idx_bytes(np.zeros((3, 28, 28), np.uint8)))[:-9], "corrupt gzip data"),
        (b"\x1f\x8b" + bytes(30), "corrupt gzip data"),
    ],
)
def test_damaged_images_are_named_with_what_was_expected(files, content, text):
    root, _ = files
    (root / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=rf"(?s)train-images-idx3-ubyte: .*{text}"):
        load_data(f"fashion_mnist:{root}")


def test_a_directory_in_place_of_a_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot read: Is a directory"):
        read_idx(tmp_path, record_shape=())


def test_labels_must_belong_to_the_images(files):
    root, arrays = files
    name = "t10k-labels-idx1-ubyte"
    (root / name).write_bytes(idx_bytes(arrays[name][:-1]))
    with pytest.raises(DataError, match="5 labels for the 6 images of t10k-images-idx3-ubyte"):
        load_data(f"fashion_mnist:{root}")
    (root / name).write_bytes(idx_bytes(arrays[name] + 5))
    with pytest.raises(DataError, match=r"label 1\d; expected 0..9"):
        load_data(f"fashion_mnist:{root}")


def test_one_training_image_cannot_be_split(files):
    root, arrays = files
    for part in ("images-idx3", "labels-idx1"):
        name = f"train-{part}-ubyte"
        (root / name).write_bytes(idx_bytes(arrays[name][:1]))
    with pytest.raises(DataError, match="one training image only"):
        load_data(f"fashion_mnist:{root}")


def test_unknown_names_get_a_suggestion():
    with pytest.raises(DataError, match="unknown data set `fashion_minst`\n  hint: did you mean `fashion_mnist`"):
        load_data("fashion_minst")
    with pytest.raises(DataError, match="known data sets: demo, fashion_mnist"):
        load_data("imagenet")
    with pytest.raises(DataError, match="expected a directory after the colon"):
        load_data("fashion_mnist:")


def test_datasets_check_their_tensors():
    images, labels = torch.zeros(4, 1, 5, 5, dtype=torch.uint8), torch.arange(4)
    options = {"classes": 4, "mean": (0.5,), "std": (0.5,)}
    assert ImageDataset(images, labels, **options).image_shape == (1, 5, 5)
    with pytest.raises(DataError, match=r"expected uint8 images \(N, 1, H, W\), got torch.float32"):
        ImageDataset(images.float(), labels, **options)
    with pytest.raises(DataError, match="4 images but labels of shape"):
        ImageDataset(images, labels[:3], **options)
    with pytest.raises(DataError, match=r"labels lie in 1\.\.4; expected 0\.\.3"):
        ImageDataset(images, labels + 1, **options)


def test_demo_splits_are_of_the_stated_size_and_disjoint():
    data = load_data("demo")
    splits = [data.train, data.validation, data.test]
    assert [len(split) for split in splits] == [2000, 2000, 2000]
    seen = [{image.numpy().tobytes() for image in split.images} for split in splits]
    for first in range(3):
        assert splits[first].labels.bincount(minlength=10).min() > 100
        for second in range(first):
            # Fashion-MNIST itself holds a handful of doubled images.
            assert len(seen[first] & seen[second]) <= 3


def test_damaged_demo_data_is_named(tmp_path):
    with pytest.raises(DataError, match=r"fashion_mnist_subset\.npz: cannot read the demo data"):
        load_data(f"demo:{tmp_path}")
    path = tmp_path / "fashion_mnist_subset.npz"
    path.write_bytes(b"no zip file")
    with pytest.raises(DataError, match="cannot read the demo data"):
        load_data(f"demo:{tmp_path}")
    np.savez(path, train_images=np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(DataError, match="train_labels"):
        load_data(f"demo:{tmp_path}")
    names = ("train", "validation", "test")
    np.savez(path, **{f"{n}_{k}": np.zeros((2, 8, 8), np.uint8) for n in names for k in ("images", "labels")})
    with pytest.raises(DataError, match=r"expected uint8 \(N, 28, 28\)"):
        load_data(f"demo:{tmp_path}")
