"""Everything that talks to providers, built and taken down as one (`UsenetClient`)."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from gateway.errors import ConfigurationError
from gateway.usenet.articles import ArticleSource
from gateway.usenet.connection import Server
from gateway.usenet.permits import ExtendedSemaphore
from gateway.usenet.policy import Policy
from gateway.usenet.pool import Pool
from gateway.usenet.pool_status import BusyLog
from gateway.usenet.provider import Breaker, Provider, Rank
from gateway.usenet.reactor import Reactor
from gateway.usenet.shares import Shares

# Dialling is four round trips of waiting: more threads than this gain nothing.
DIALLERS = 16
# No provider sells as many.
MOST_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """One account with a provider. *password* is left out of repr; *tls* None: plain text.

    *pipeline*: how many BODY commands there may be on one connection at a time, 1 or 2.
    """

    name: str
    host: str
    port: int = 563
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    connections: int = 10
    priority: int = 0
    backup: bool = False
    pipeline: int = 2


class UsenetClient:
    """The providers of *accounts*, their threads, and the one `source` of articles over them.

    *stall_s*: so long may a provider say nothing in the middle of an exchange. Raises
    ConfigurationError when *policy* promises more than the providers have.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        policy: Policy | None = None,
        *,
        connect_timeout_s: float = 10.0,
        stall_s: float = 10.0,
        idle_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy or Shares()
        self.policy.check({account.name: account.connections for account in accounts})
        self._changing = threading.Lock()
        self._logs: list[BusyLog] = []
        self._reactor = Reactor(stall_s=stall_s, idle_s=idle_s, ticked=self._ticked)
        self._dialler = ThreadPoolExecutor(DIALLERS, thread_name_prefix="usenet-dial")
        self.pools = {
            account.name: Pool(
                account.name,
                Server(
                    account.name,
                    account.host,
                    account.port,
                    account.tls,
                    account.username,
                    account.password,
                ),
                ExtendedSemaphore(account.connections, self.policy, clock=clock),
                self._reactor,
                self._dialler,
                connections=account.connections,
                pipeline=account.pipeline,
                connect_timeout_s=connect_timeout_s,
                clock=clock,
            )
            for account in accounts
        }
        self._logs = [BusyLog(pool, clock) for pool in self.pools.values()]
        self.source = ArticleSource(
            [
                Provider(
                    Rank(account.backup, account.priority, account.name),
                    self.pools[account.name],
                    Breaker(clock),
                )
                for account in accounts
            ]
        )

    def connections(self) -> int:
        """Return how many connections all providers allow together at this moment.

        To all gateways of an account: to want them is what brings this one its share.
        """
        return sum(pool.status().allowed for pool in self.pools.values())

    def change(self, policy: Policy, connections: Mapping[str, int]) -> None:
        """Share by *policy*, and allow *connections* at the providers named, from now on.

        All of it or nothing: raises ConfigurationError as the start would. What is held above
        a new limit stays held, and whoever a new limit lets in is served at once.
        """
        with self._changing:
            for name, total in connections.items():
                if name not in self.pools:
                    known = ", ".join(sorted(self.pools)) or "none is configured"
                    raise ConfigurationError(f"no provider is called {name!r}: {known}")
                if not 1 <= total <= MOST_CONNECTIONS:
                    raise ConfigurationError(
                        f"{total} connections of {name!r} cannot be: write 1 to {MOST_CONNECTIONS}"
                    )
            before = {name: pool.status().configured for name, pool in self.pools.items()}
            policy.check({**before, **connections})
            self.policy = policy
            for pool in self.pools.values():
                pool.permits.use(policy)
            for name, total in connections.items():
                self.pools[name].resize(total)

    def close(self) -> None:
        """End what is in flight as unknown, close every connection, and end all threads."""
        self.source.close()
        for pool in self.pools.values():
            pool.stop()
        self._reactor.stop()
        self._dialler.shutdown(cancel_futures=True)

    def _ticked(self) -> None:
        for each in self._logs:
            each.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
