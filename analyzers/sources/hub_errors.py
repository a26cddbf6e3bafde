"""What goes wrong at the Hugging Face Hub, or on the way to it, as a sentence with a way out."""

from __future__ import annotations

import errno
import urllib.error

from analyzers.common.errors import InputError
from analyzers.sources.catalog import OFFLINE_MODEL


def to_input_error(id: str, revision: str | None, seconds: float, error: BaseException) -> InputError:
    """The sentence for what went wrong at the Hub, or on the way to it: a status, a full disk, silence of so many
    seconds, no network. Anything else is named by its kind alone, since its text may hold a path."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return InputError("hub_gated", model=id)
    if isinstance(error, RevisionNotFoundError):
        return InputError("hub_no_revision", model=id, revision=revision)
    if isinstance(error, RepositoryNotFoundError):
        return InputError("hub_not_found", model=id)
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    status = next((code for one in chain if (code := _status(one)) is not None), None)
    if status in (401, 403):
        return InputError("hub_refused", model=id, status=status)
    if status == 404:
        return InputError("hub_not_found", model=id)
    if status == 429:
        return InputError("hub_busy", model=id, fallback=OFFLINE_MODEL)
    if status is not None:
        return InputError("download_failed", model=id, reason=f"the Hub answered {status}")
    if any(isinstance(one, OSError) and one.errno == errno.ENOSPC for one in chain):
        return InputError("disk_full", model=id)
    kinds = " ".join(type(one).__name__ for one in chain).lower()
    if "timeout" in kinds:
        return InputError("hub_slow", model=id, seconds=int(seconds), fallback=OFFLINE_MODEL)
    if "connect" in kinds or "offline" in kinds or isinstance(error, urllib.error.URLError):
        return InputError("hub_unreachable", model=id, fallback=OFFLINE_MODEL)
    reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return InputError("download_failed", model=id, reason=reason)


def _status(error: BaseException) -> int | None:
    """What the Hub answered, where it answered."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None
