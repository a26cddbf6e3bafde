"""Starts the app: options, the page first, the model loading behind it."""

from __future__ import annotations

import argparse
import errno
import hmac
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS, REFUSED, unknown_variables
from analyzers.common.threads import start
from analyzers.common.waiting import choose_waiting_policy
from analyzers.models.placement import PRECISIONS, check_precision
from analyzers.sources import catalog, hub_probe
from analyzers.sources.resolver import Resolver, is_utf8

if TYPE_CHECKING:
    from analyzers.models.store import Store
    from analyzers.serving.dispatch import Runner
    from analyzers.serving.sharing import SharedRuns


MOST_DESCRIPTORS = 65_536
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


def serve(arguments: list[str] | None = None) -> int:
    """Serve until interrupted. Exit status 2, with a sentence, for options that cannot be."""
    given = _options().parse_args(arguments)
    choose_waiting_policy()
    # Asked now, so that the answer is there when gradio, which takes seconds, is imported.
    start(hub_probe.HUB.answers, "hub-question")
    if (wrong := _cannot_start(given)) is not None:
        print(wrong, file=sys.stderr)
        return 2
    _take_descriptors()
    if given.prepare:
        from ui.ready import prepare

        return prepare()
    on_zero_gpu = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    from analyzers.serving.sharing import SharedRuns

    if on_zero_gpu:
        runner = SharedRuns(_build_shared_gpu(given.models_dir))
    else:
        from analyzers.models.store import ModelStore
        from analyzers.serving.answer_cache import AnswerCache
        from analyzers.serving.dispatch import Dispatcher
        from analyzers.sources.gguf_cache import answers_folder

        store = ModelStore(
            Resolver(models_folder=given.models_dir, any_hub_id=_any_model(given)),
            precision=given.precision,
            offload_folder=given.offload,
            tries_first=True,
        )
        runner = SharedRuns(Dispatcher(store), AnswerCache(folder=answers_folder()))
    resolver = runner.store.resolver
    try:
        check_precision(given.precision)
        if given.model is not None:
            resolver.set_default(given.model)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2

    from ui.downloads import DOWNLOADS
    from ui.gate import Names
    from ui.layout import build_app, launch_options

    app = build_app(runner)
    print(f"Limits: {LIMITS}")
    _tell_slips(given.models_dir)
    if given.share:
        print("Sharing: anyone with the link can use this machine's models; texts they type are computed here.")
    if resolver.any_hub_id:
        print(
            "Any public model of the Hugging Face Hub may be typed in and is downloaded here (--no-any-model ends that)."
        )
    app.launch(
        server_name=given.host,
        server_port=given.port,
        share=given.share,
        prevent_thread_lock=True,
        quiet=True,
        auth=_door(given.password),
        **launch_options(Names.of(given.host, tuple(given.public_name), is_shared=given.share)),
    )
    print(f"Eccolens is at {_address(given.host, app.server_port)}", flush=True)
    if given.password is None and "SPACE_ID" not in os.environ and (given.share or not _is_loopback(given.host)):
        print(
            "Whoever reaches it can use this machine's models; nobody sees what another visitor types. "
            "Set ECCOLENS_PASSWORD, or give --password, to ask for a password.",
            flush=True,
        )
    if not on_zero_gpu:
        has_own = given.models_dir is not None
        start(lambda: _be_ready(runner, may_compute=not given.no_background, has_own=has_own), "be-ready")

    def leave(number: int, _frame: object) -> NoReturn:
        """Ended from outside: what visitors could save goes first."""
        DOWNLOADS.remove()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        app.block_thread()
    finally:
        DOWNLOADS.remove()
    return 0


def _cannot_start(given: argparse.Namespace) -> str | None:
    """What is wrong with the options or with this machine, in a sentence with the way out; None where nothing is."""
    if REFUSED is not None:
        return str(REFUSED)
    if given.models_dir is not None and not given.models_dir.is_dir():
        return f"There is no folder {given.models_dir}. Give --models-dir a folder of model folders."
    return None if given.prepare else _cannot_write() or _cannot_serve(given.host, given.port)


def _cannot_write() -> str | None:
    try:
        folder = Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        where = getattr(error, "filename", None) or "the folder for temporary files"
        return (
            f"Nothing can be written to {where} ({error.strerror}). "
            "Set GRADIO_TEMP_DIR, or TMPDIR, to a folder that can be written."
        )
    return None


def _take_descriptors() -> None:
    """As many open connections as the system allows: each visitor's page holds some."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _tell_slips(models_folder: Path | None) -> None:
    """What was meant and does not count."""
    for name in unknown_variables(os.environ):
        print(
            f"There is no setting {name}; it changes nothing. docs/limits.md lists those that there are.",
            file=sys.stderr,
        )
    for path in () if models_folder is None else sorted(models_folder.iterdir()):
        if not is_utf8(path.name):
            print(f"{os.fsencode(path.name)!r} is left out: its name is not UTF-8. Rename it.", file=sys.stderr)


def _cannot_serve(host: str, port: int) -> str | None:
    """What is wrong with an address to serve on, in a sentence with the way out; None where nothing is."""
    if not 0 < port < 65_536:
        return f"There is no port {port}. Give --port a number from 1 to 65535; 7860 is the default."
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return (
            f"There is no address {host!r}. Give --host 127.0.0.1 for this machine alone, or 0.0.0.0 for its network."
        )
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"Port {port} is in use, perhaps by an Eccolens that runs already. Give another: --port {port % 65_535 + 1}."
            if error.errno == errno.EACCES:
                return f"Port {port} needs an administrator. Give --port a number above 1023; 7860 is the default."
            return f"{host!r} is no address of this machine. Give --host 127.0.0.1, or 0.0.0.0 for its network."
    return None


def _address(host: str, port: int) -> str:
    """What others type into their browser to reach an app that listens on `host`."""
    if space := os.environ.get("SPACE_HOST"):
        return f"https://{space}"
    return f"http://{_reachable(host)}:{port}"


def _reachable(host: str) -> str:
    """This machine's name or number for others, where it listens on `host`."""
    if host not in EVERYWHERE:
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # reserved for documentation: nothing is sent, but the way there is chosen
        except OSError:
            return socket.gethostname()
        found: str = asking.getsockname()[0]
        return found


def _door(password: str | None) -> Callable[[str, str], bool] | None:
    """What Gradio's own login asks: the one password of a class, under any name. None opens to all."""
    if not password:
        return None
    right = password.encode()
    return lambda _name, given: hmac.compare_digest(given.encode(), right)


def _is_loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def _any_model(given: argparse.Namespace) -> bool:
    """Whether any id of the Hub may be typed: as the operator says, else where nobody but they can reach the page."""
    if given.any_model is not None:
        return bool(given.any_model)
    return not given.share and "SPACE_ID" not in os.environ and _is_loopback(given.host)


def _build_shared_gpu(models_folder: Path | None) -> Runner:
    """For ZeroGPU, where the models are loaded before the page is served: what is loaded later no worker has."""
    from ui.zero_gpu import SharedGPU  # isort: skip  # before anything imports torch
    from analyzers.models.preloaded import PreloadedStore

    store = PreloadedStore(Resolver(models_folder=models_folder))
    store.preload()
    return SharedGPU(store)


def _be_ready(runner: SharedRuns, *, may_compute: bool, has_own: bool) -> None:
    """What is done while nobody asks: the default model is loaded, then the examples are computed. `has_own`: whether models
    that are not of the catalog are on offer."""
    _warm_up(runner.store)
    if has_own:
        from analyzers.models import trial

        trial.prepare()
    if may_compute:
        from ui.ready import compute_while_quiet

        compute_while_quiet(runner)


def _warm_up(store: Store) -> None:
    """Load the default model while the visitor reads the page. A failure is told to whoever runs it."""
    source = store.resolver.find(store.resolver.default_id())
    if source.folder is None:
        source = store.resolver.find(catalog.OFFLINE_MODEL)
    try:
        store.load(source)
    except InputError as error:
        print(f"Warm-up: {error}", file=sys.stderr, flush=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python app.py", description="See inside a transformer language model.")
    on_space = "SPACE_ID" in os.environ
    parser.add_argument("--host", default="0.0.0.0" if on_space else "127.0.0.1", help="address to serve on")  # noqa: S104
    parser.add_argument("--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT", "7860"), help="port")
    parser.add_argument(
        "--password",
        metavar="WORD",
        default=os.environ.get("ECCOLENS_PASSWORD") or None,
        help="asked of every visitor, under any name; better set as ECCOLENS_PASSWORD, which other users do not see",
    )
    parser.add_argument("--public-name", metavar="NAME", action="append", default=[], help="name of a proxy before it")
    parser.add_argument("--share", action="store_true", help="also make a temporary public link")
    parser.add_argument("--model", metavar="ID", help="the model chosen at first")
    parser.add_argument("--models-dir", metavar="DIR", type=Path, help="folder whose model folders are on offer too")
    parser.add_argument(
        "--any-model",
        action=argparse.BooleanOptionalAction,
        help="let visitors type any public id of the Hugging Face Hub; as a rule only where nobody else reaches the page",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="how weights are held")
    parser.add_argument(
        "--no-background",
        action="store_true",
        help="do not compute the examples of the models on this machine while nobody else computes",
    )
    parser.add_argument(
        "--prepare", action="store_true", help="compute the examples of the bundled models, keep them, and end"
    )
    parser.add_argument("--offload", metavar="DIR", type=Path, help="keep there what fits in no memory; slow")
    return parser
