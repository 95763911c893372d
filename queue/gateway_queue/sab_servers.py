"""A news provider as SABnzbd describes a server: configured, and at this moment."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.usenet.client import Account
from gateway.usenet.provider import BreakerState, Provider
from gateway_queue.sab_values import Json


@dataclass(frozen=True, slots=True)
class SabServer:
    """One *provider*, and the *account* with it. No answer holds its login."""

    account: Account
    provider: Provider

    def as_configured(self) -> Json:
        """Return the server as get_config shows it."""
        account, status = self.account, self.provider.pool.status()
        return {
            "name": account.name,
            "displayname": account.name,
            "host": account.host,
            "port": account.port,
            "timeout": 20,
            "username": "",
            "password": "",
            "connections": status.configured,
            "ssl": int(account.tls is not None),
            "ssl_verify": 3,
            "ssl_ciphers": "",
            "enable": 1,
            "required": 0,
            "optional": int(account.backup),
            "pipelining_requests": 1,
            "retention": 0,
            "expire_date": "",
            "quota": "",
            "usage_at_start": 0,
            "priority": account.priority,
            "notes": "",
        }

    def as_it_stands(self) -> Json:
        """Return the server as fullstatus shows it."""
        account, status = self.account, self.provider.pool.status()
        breaker = self.provider.breaker()
        return {
            "servername": account.name,
            "serveractive": breaker.state is not BreakerState.OPEN,
            "serveractiveconn": status.live - status.dialling,
            "servertotalconn": status.limit,
            "serverconnections": [],
            "serverssl": int(account.tls is not None),
            "serversslinfo": "",
            "serveripaddress": None,
            "servercanonname": None,
            "serverwarning": "",
            "servererror": breaker.reason or "",
            "serverpriority": account.priority,
            "serveroptional": int(account.backup),
            "serverbps": "0",
        }
