"""TorchServe's key file: where the gateway's bearer token comes from."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError


class TokenFileError(Exception):
    """The key file is missing or not what TorchServe writes."""


class _Key(BaseModel):
    key: str = Field(pattern=r"^[\x21-\x7e]+$")


class _KeyFile(BaseModel):
    inference: _Key


class TokenFile:
    """The inference token, read again when the file changes or the token was refused."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: int | None = None
        self._token = ""

    def headers(self) -> dict[str, str]:
        """The header that authorizes a call, or none without a key file.

        Raises:
            TokenFileError: The file cannot be read.
        """
        if self._path is None:
            return {}
        try:
            self._refresh(self._path)
        except OSError as error:
            raise TokenFileError(f"cannot read {self._path}") from error
        except ValidationError:
            raise TokenFileError(f"no inference key in {self._path}") from None  # its text would quote the keys
        return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """Read the file again before the next call: the token was refused."""
        self._stamp = None

    def _refresh(self, path: Path) -> None:
        stamp = path.stat().st_mtime_ns
        if stamp != self._stamp:
            self._token = _KeyFile.model_validate_json(path.read_bytes()).inference.key
            self._stamp = stamp
