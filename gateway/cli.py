"""The commands of `nzb-gateway`. Whatever goes wrong is one line on stderr, and an exit code:

0: done; 1: it could not be done; 2: the command or a setting is wrong. What `check` finds has
codes of its own: 3: files are degraded or have failed; 4: nothing worse is known, but not of all.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from gateway import keys
from gateway.api_client import ApiClient, Refused
from gateway.errors import ConfigurationError, GatewayError
from gateway.library_arguments import add_library
from gateway.queue_arguments import add_queue
from gateway.settings import Settings, lines, load
from gateway.terminal import shown as _shown
from gateway.words import counted

_PROGRAM = "nzb-gateway"
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

Command = Callable[[argparse.Namespace, Settings], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, return the exit code. *arguments* None: those of the process."""
    given = _parser().parse_args(arguments)
    command: Command = given.command
    try:
        code = command(given, load(given.settings))
        sys.stdout.flush()
    except ConfigurationError as exc:
        return _complain(exc, 2)
    except GatewayError as exc:
        return _complain(exc, 1)
    except BrokenPipeError:
        # `nzb-gateway queue | head`: whoever read has seen enough. What Python flushes at its
        # end must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as exc:
        named = f"{exc.filename}: " if exc.filename else ""
        return _complain(f"{named}{exc.strerror or exc}", 1)
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Shows what is inside NZB files as ordinary files over WebDAV.",
        epilog="Settings come from settings.env and the environment; settings.example.env lists "
        "them all.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version(_PROGRAM)}")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="read settings from FILE, not ./settings.env"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="run the gateway until it is told to stop")
    serve.add_argument("--verbose", action="store_true", help="log every request and exchange")
    serve.set_defaults(command=_serve)

    demo = commands.add_parser("demo", help="show the gateway with a news server and a clip")
    demo.add_argument("--verbose", action="store_true", help="log every request and exchange")
    demo.set_defaults(command=_demo)

    add = commands.add_parser("add", help="queue NZB files in the running gateway")
    add.add_argument("files", nargs="+", type=Path, metavar="FILE")
    add.add_argument("--category", metavar="NAME", help="movies, tv, ... (default: uncategorized)")
    add.set_defaults(command=_add)

    add_queue(commands)

    check = commands.add_parser(
        "check",
        help="ask whether the articles of releases are still there",
        epilog="Exit code: 0 all files are healthy, 3 some are degraded or have failed, "
        "4 some could not be checked, 1 error. With --tell: 0 all were told, 4 some will be later, "
        "1 some will not be.",
    )
    check.add_argument(
        "releases",
        nargs="*",
        metavar="RELEASE",
        help='"name" or "category/name" (default: the whole library)',
    )
    check.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show the progress and what is found (default), or return at once",
    )
    check.add_argument(
        "--deep",
        action="store_true",
        help="fetch every article and hold it against its checksum, instead of asking for it",
    )
    instead = check.add_mutually_exclusive_group()
    instead.add_argument(
        "--history", action="store_true", help="show what the checks of RELEASE came to so far"
    )
    instead.add_argument(
        "--status",
        action="store_true",
        help="check nothing: show what is due, and whether checks are stopped; of RELEASE what is "
        "known already, and when it is due",
    )
    instead.add_argument(
        "--tell",
        action="store_true",
        help="check nothing: have the Sonarr or Radarr that grabbed RELEASE replace it",
    )
    check.set_defaults(command=_check)

    add_library(commands)

    leases = commands.add_parser(
        "leases", help="show who occupies the slots that viewers and gateways share"
    )
    leases.add_argument("--json", action="store_true", help="print what the API answers")
    leases.set_defaults(command=_leases)
    of_leases = leases.add_subparsers(metavar="")
    end = of_leases.add_parser("end", help="end a session, wherever it is answered")
    end.add_argument("session", metavar="SESSION")
    end.set_defaults(command=_end_session)

    vod = commands.add_parser("vod", help="films and series for players of Xtream accounts")
    of_vod = vod.add_subparsers(metavar="COMMAND", required=True)
    strm = of_vod.add_parser(
        "strm",
        help="write the running gateway's films and series as .strm files for Jellyfin",
        epilog="Only what has changed is written. What has left the catalogue is listed, and "
        "removed with --prune. Exit code 1: some could not be listed or written.",
    )
    strm.add_argument("folder", type=Path, metavar="DIR")
    strm.add_argument("--user", metavar="NAME", help="whose login stands in the files")
    strm.add_argument("--url", metavar="URL", help="where players reach the gateway")
    strm.add_argument("--prune", action="store_true", help="remove what was written and has gone")
    strm.set_defaults(command=_strm)

    config = commands.add_parser("config", help="list the settings in force, without secrets")
    config.set_defaults(command=_config)
    return parser


def _complain(words: object, code: int) -> int:
    for line in str(words).splitlines():
        print(f"{_PROGRAM}: {line}", file=sys.stderr)
    return code


# Each command imports what only it needs: `add` starts in a tenth of the time of `serve`.


def _serve(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import app

    _log(given.verbose, logging.INFO)
    return app.serve(settings, lambda: load(given.settings))


def _demo(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import demo_run

    _log(given.verbose, logging.WARNING)
    return demo_run.demo(settings)


def _log(verbose: bool, level: int) -> None:
    logging.basicConfig(level=logging.DEBUG if verbose else level, format=_LOG_FORMAT)


def _add(given: argparse.Namespace, settings: Settings) -> int:
    client = ApiClient.of(settings)
    if given.category is not None:
        known = client.categories()
        if given.category.lower() not in {name.lower() for name in known}:
            names = ", ".join(known)
            raise ConfigurationError(f"--category={given.category} does not exist: write {names}")
    code = 0
    for file in given.files:
        try:
            print(f"{client.add(file, given.category)}  {_shown(str(file))}", flush=True)
        except Refused as exc:
            code = _complain(exc, 1)
    return code


def _check(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import check_command, tell_command

    client = ApiClient.of(settings)
    for way in ("status", "history", "tell"):
        if given.deep and getattr(given, way):
            raise Refused(f"with --{way} nothing is checked: leave out --deep")
    if given.status:
        return check_command.status(client, given.releases, out=sys.stdout, shown=_shown)
    if given.history:
        if not given.releases:
            raise Refused("a history is that of a release: name one")
        return check_command.history(client, given.releases, out=sys.stdout, shown=_shown)
    if given.tell:
        if not given.releases:
            raise Refused("no whole library is replaced: name releases")
        return tell_command.tell(
            client, given.releases, out=sys.stdout, err=sys.stderr, shown=_shown
        )
    return check_command.check(
        client,
        given.releases,
        deep=given.deep,
        wait=given.wait,
        out=sys.stdout,
        err=sys.stderr,
        shown=_shown,
    )


def _leases(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import leases_command

    found = ApiClient.of(settings).leases()
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        leases_command.show(found, sys.stdout)
    return 0


def _end_session(given: argparse.Namespace, settings: Settings) -> int:
    ended = ApiClient.of(settings).end_session(given.session)
    requests = counted(ended["refs"], "request")
    print(f"{_shown(ended['session'])} was told to end: {requests}")
    return 0


def _strm(given: argparse.Namespace, settings: Settings) -> int:
    from gateway import vod_command

    return vod_command.write_strm(
        settings,
        given.folder,
        user=given.user,
        url=given.url,
        prune=given.prune,
        out=sys.stdout,
        shown=_shown,
    )


def _config(given: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001 - Command
    kept = {
        "GATEWAY_WEBDAV_PASSWORD": settings.data_dir / keys.PASSWORD_FILE,
        "GATEWAY_API_KEY": settings.data_dir / keys.API_KEY_FILE,
    }
    for name, value in lines(settings):
        if value is not None:
            print(f"{name}={value}")
        elif name in kept:
            state = "kept" if kept[name].exists() else "will be made and kept"
            print(f"# {name} is not set: {state} in {kept[name]}")
        else:
            print(f"# {name} is not set")
    return 0
