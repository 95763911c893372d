"""What one provider has done since the start (`Tally`)."""

from __future__ import annotations

from collections import Counter

from gateway.errors import ProviderError
from gateway.usenet.call import Call
from gateway.usenet.replies import Meaning, meaning


class Tally:
    """Counts articles, replies and failures. Written by the dispatcher's thread alone.

    *articles*: bodies that fitted what was asked for; *damaged*: those that did not. *replies*:
    of exchanges that came to their end. *failures*: of exchanges that did not, by the error's
    name; what nobody waited for any more is none.
    """

    def __init__(self) -> None:
        self.articles = 0
        self.damaged = 0
        self.replies = dict.fromkeys(Meaning, 0)
        self.failures: Counter[str] = Counter()

    def answered(self, call: Call) -> None:
        for response in call.responses:
            self.replies[meaning(response.status_code)] += 1

    def failed(self, error: ProviderError) -> None:
        self.failures[type(error).__name__] += 1
