"""The command line: `python -m analyzers COMMAND TEXT [options]`. The same functions, limits and errors as the page."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from analyzers.common.errors import InputError
from analyzers.common.languages import Language, choose_language
from analyzers.common.limits import REFUSED
from analyzers.common.parameters import Setting
from analyzers.common.waiting import choose_waiting_policy
from analyzers.models.placement import PRECISIONS
from analyzers.models.store import ModelStore
from analyzers.serving.analyses import public_analyses
from analyzers.serving.dispatch import AnyAnswer, Dispatcher
from analyzers.serving.document import document
from analyzers.serving.request import AnyRequest, parameters_of, parse_request
from analyzers.serving.table import table
from analyzers.sources import catalog, local_files
from analyzers.sources.gguf_cache import find_converted_folder, is_complete
from analyzers.sources.resolver import Resolver


class _Parser(argparse.ArgumentParser):
    """Bad input is one sentence and exit status 2."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message[:1].upper()}{message[1:].rstrip('.')}. See {self.prog} --help.")
        raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 with one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' progress bars; read when they are imported
    choose_waiting_policy()
    given = _parser().parse_args(_as_typed(sys.argv[1:] if arguments is None else arguments))
    if REFUSED is not None:
        _complain(REFUSED.say(_language()))
        return 2
    if given.models:
        return _list_models(as_json=given.json)
    if given.prepare:
        return _prepare()
    if given.command is None:
        _parser().error("name a command: " + ", ".join(row.name for row in public_analyses()))
    raw = {
        name: value
        for name, value in vars(given).items()
        if value is not None and name not in ("command", "json", "models", "prepare", "precision", "offload")
    }
    language = _language()
    try:
        request = parse_request(given.command, raw)
        store = ModelStore(
            Resolver(any_folder=True, any_hub_id=True), precision=given.precision, offload_folder=given.offload
        )
        dispatcher = Dispatcher(store)
        answer = _run(dispatcher, request)
    except InputError as error:
        _complain(error.say(language))
        return 2
    if given.json:
        print(json.dumps(document(answer, language), ensure_ascii=False, allow_nan=False))
    else:
        print(table(answer, language))
    return 0


def _as_typed(arguments: list[str]) -> list[str]:
    """Under a locale that knows ASCII alone, Python hands on the bytes of anything else: they are UTF-8."""
    try:
        return [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in arguments]
    except UnicodeEncodeError:  # half a character, which no shell types: refused by name later
        return arguments


def _complain(sentence: str) -> None:
    """On one line, whatever the sentence quotes."""
    print("".join(c if c.isprintable() else "�" for c in sentence), file=sys.stderr)


def _run(dispatcher: Dispatcher, request: AnyRequest) -> AnyAnswer:
    last: AnyAnswer | None = None
    shown = False
    for step in dispatcher.run(request):
        last = step.answer or last
        if sys.stderr.isatty():
            print(f"\r\033[K{step.phase} {step.fraction:.0%}", end="", file=sys.stderr)
            shown = True
    if shown:
        print("\r\033[K", end="", file=sys.stderr)
    assert last is not None
    return last


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m analyzers", description=__doc__)
    parser.add_argument(
        "--models", action="store_true", help="list the models of the catalog, and which are on this machine"
    )
    parser.add_argument("--prepare", action="store_true", help="make the bundled models ready to load, once")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    commands = parser.add_subparsers(dest="command", parser_class=_Parser, metavar="COMMAND")
    for row in public_analyses():
        command = commands.add_parser(row.name, help=row.purpose, description=row.purpose)
        command.add_argument("text", metavar="TEXT", help="the text; its leading space counts")
        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        for setting in parameters_of(row.name):
            _add(command, setting)
        command.add_argument("--precision", choices=PRECISIONS, default="auto", help="how weights are held")
        command.add_argument("--offload", metavar="DIR", type=Path, help="keep there what fits in no memory; slow")
    return parser


def _add(command: argparse.ArgumentParser, setting: Setting) -> None:
    # Left out means absent, so that the one gate, parse_request, fills in every default and refuses every bad value.
    options: dict[str, Any] = {"dest": setting.name, "default": argparse.SUPPRESS, "help": setting.help}
    if setting.type == "flag":
        command.add_argument(setting.flag, action="store_true", **options)
    elif setting.type == "texts":
        command.add_argument(setting.flag, action="append", metavar="|".join(setting.choices) or "TOKEN", **options)
    else:
        number = {"integer": ("N",), "number": ("F",)}.get(setting.type, ())
        metavar = "|".join((*setting.choices, *setting.words, *number)) or "TEXT"
        command.add_argument(setting.flag, type=_number if number else str, metavar=metavar, **options)


def _number(text: str) -> int | float | str:
    """As a number where it is one; what is not is refused by name later, or is a word that the setting takes."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _list_models(*, as_json: bool) -> int:
    rows = [
        {
            "id": row.id,
            "label": row.label,
            "kind": row.kind,
            "megabytes": row.megabytes,
            "hub_id": row.hub_id,
            "at_hand": local_files.is_on_this_machine(row),
        }
        for row in catalog.CATALOG
    ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        for row in rows:
            where = "on this machine" if row["at_hand"] else "not downloaded"
            print(f"{row['id']:24} {row['kind']:8} {row['megabytes']:5} MB  {where:16} {row['hub_id'] or 'bundled'}")
    return 0


def _prepare() -> int:
    """Load each bundled language model once, so that its conversion is done before somebody waits for it."""
    for row in catalog.CATALOG:
        if not row.bundled or not row.kind.writes:
            continue
        folder = local_files.find_bundled_folder(row)
        try:
            if folder is None or row.gguf_file is None or not is_complete(find_converted_folder(folder, row.gguf_file)):
                ModelStore().load(row.id, "cpu")
        except InputError as error:
            print(error.say(_language()), file=sys.stderr)
            return 2
        print(f"{row.label} is ready.")
    return 0


def _language() -> Language:
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return choose_language([next(filter(None, named), "")])


if __name__ == "__main__":
    raise SystemExit(main())
