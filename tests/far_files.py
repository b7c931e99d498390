"""A file system of fsspec, ``far://``, that counts what is read of a folder and fails when it is told to."""

from pathlib import Path

import fsspec
from fsspec.spec import AbstractFileSystem


class FarFiles(AbstractFileSystem):
    """What is at ``far:///folder/file`` is the local file; each request is written down, and may be answered wrongly.

    Attributes
    ----------
    requests : list of (str, int, int)
        Names of the files, and the bytes that were sent.
    answers : list
        What the next requests get: an error to raise, or a function of the bytes.
    """

    protocol = "far"
    cachable = False
    requests = []
    answers = []

    def info(self, path, **_):
        place = Path(self._strip_protocol(path))
        if not place.is_file():
            raise FileNotFoundError(path)
        return {"name": path, "size": place.stat().st_size, "type": "file"}

    def cat_file(self, path, start=None, end=None, **_):
        answer = self.answers.pop(0) if self.answers else bytes
        if isinstance(answer, Exception):
            raise answer
        path = Path(self._strip_protocol(path))
        content = answer(path.read_bytes()[start:end])
        self.requests.append((path.name, start, len(content)))
        return content


fsspec.register_implementation("far", FarFiles)
