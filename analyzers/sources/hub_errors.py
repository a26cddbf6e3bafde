"""What goes wrong at the Hugging Face Hub, or on the way to it, as a sentence with a way out."""

from __future__ import annotations

import errno
import urllib.error

from analyzers.common.errors import InputError
from analyzers.sources.catalog import OFFLINE_MODEL


def to_input_error(id: str, revision: str | None, seconds: float, error: BaseException) -> InputError:
    """The sentence for what went wrong at the Hub, or on the way to it: a status, a full disk, silence of so many
    seconds, no network. Anything else is named by its kind alone, since its text may hold a path."""
    import httpx
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return InputError("hub_gated", model=id)
    if isinstance(error, RevisionNotFoundError):
        return InputError("hub_no_revision", model=id, revision=revision)
    if isinstance(error, RepositoryNotFoundError):
        return InputError("hub_not_found", model=id)
    chain = _chain(error)
    is_unreachable = any(isinstance(link, (OfflineModeIsEnabled, urllib.error.URLError)) for link in chain)
    status = next((code for link in chain if (code := _status(link)) is not None), None)
    if status in (401, 403):
        return InputError("hub_refused", model=id, status=status)
    if status == 404:
        return InputError("hub_not_found", model=id)
    if status == 429:
        return InputError("hub_busy", model=id, fallback=OFFLINE_MODEL)
    if status is not None:
        return InputError("download_failed", model=id, reason=f"the Hub answered {status}")
    if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in chain):
        return InputError("disk_full", model=id)
    if any(isinstance(link, (TimeoutError, httpx.TimeoutException)) for link in chain):
        return InputError("hub_slow", model=id, seconds=int(seconds), fallback=OFFLINE_MODEL)
    if is_unreachable or is_lost_connection(error):
        return InputError("hub_unreachable", model=id, fallback=OFFLINE_MODEL)
    reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return InputError("download_failed", model=id, reason=reason)


def is_lost_connection(error: BaseException) -> bool:
    """Whether a connection was refused, or broke off."""
    import httpx

    kinds = (ConnectionError, httpx.NetworkError, httpx.RemoteProtocolError)
    return any(
        isinstance(link, kinds) or (isinstance(link, OSError) and link.errno == errno.EBADF) for link in _chain(error)
    )


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what led to it."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _status(error: BaseException) -> int | None:
    """What the Hub answered, where it answered."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None
