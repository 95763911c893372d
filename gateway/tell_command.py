"""`nzb-gateway check --tell`: has the *arr that grabbed a release replace it, and waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from gateway.api_client import ApiClient, Refused
from gateway.standing import standing_in_words

_POLL_S = 0.5
# An *arr that does not answer is left alone long before.
_LONGEST_S = 60.0
TOLD, REFUSED, WAITS = 0, 1, 4
"""Exit codes: all were told; some are not; else some will be, later."""


def tell(
    client: ApiClient,
    releases: Sequence[str],
    *,
    out: TextIO,
    err: TextIO,
    shown: Callable[[str], str],
) -> int:
    """Have *releases* replaced, one after the other; return the exit code.

    *shown* makes text of strangers fit for a terminal.
    """
    codes = [_tell(client, release, out, err, shown) for release in releases]
    return REFUSED if REFUSED in codes else max(codes, default=TOLD)


def _tell(
    client: ApiClient, release: str, out: TextIO, err: TextIO, shown: Callable[[str], str]
) -> int:
    try:
        asked = client.tell(release)["id"]
    except Refused as exc:
        print(shown(f"{release}: {exc}"), file=err)
        return REFUSED
    deadline = time.monotonic() + _LONGEST_S
    while True:
        files = client.checks(release=release)["results"]
        standing = files[0]["standing"] if files else None
        if standing is None or standing["replacement"] is None:
            said = "it has no files any more, so that nothing is shown of what comes of it"
            print(shown(f"{release}: {said}"), file=err)
            return WAITS
        one: dict[str, Any] = standing["replacement"]
        is_finished = one["step"] in {"told", "nobody", "refused"}
        if one["id"] != asked or is_finished or one["note"] or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    print(shown(f"{release}: {standing_in_words(standing)}"), file=out)
    if is_finished:
        return TOLD if one["step"] == "told" else REFUSED
    return WAITS
