"""The error tree: what went wrong, whose fault it is, and what an HTTP client is told.

Every error says what happened, with its numbers, in one sentence, lower case, without a full
stop; no message holds a secret. Errors of libraries are translated where they enter.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Any failure that the gateway knows by name.

    *http_status* is the answer for a client whose request failed with it; *retryable* says
    whether the same request may succeed later without anybody changing anything.
    """

    http_status: int = 500
    retryable: bool = False


class ConfigurationError(GatewayError):
    """A setting is wrong or missing; the message names it and says what to put there."""


class StorageError(GatewayError):
    """The library's database did not do what it was asked; nothing of the transaction remains."""

    http_status = 503
    retryable = True


class StorageFull(StorageError):
    """The disk that holds the library is full."""

    http_status = 507


class StorageGone(StorageError):
    """A folder is not there, or cannot be written: its owner has to see to that, nobody else."""


class NotInLibrary(GatewayError):
    """No such release or file: never published, or removed since."""

    http_status = 404


class FileChanged(GatewayError):
    """A file has got another ETag between two looks at it: a hole has appeared, or healed."""

    http_status = 503
    retryable = True


class NotOnDisk(GatewayError):
    """A file that was downloaded is not on the disk any more, or not as it was."""

    http_status = 503


class ProviderError(GatewayError):
    """A provider did not serve us. Says nothing about the article: *unknown*, never *missing*."""

    http_status = 502
    retryable = True


class ConnectFailed(ProviderError):
    """No connection: the name has no address, nobody listens, or TLS failed."""


class ConnectionLost(ProviderError):
    """The connection ended, or said nothing for too long, in the middle of an exchange."""


class ProviderBusy(ProviderError):
    """The provider refuses for now: too many connections, maintenance (400, 502)."""


class LoginRefused(ProviderError):
    """The provider refused user name or password (481, 482, 502 to AUTHINFO)."""

    retryable = False


class ProtocolError(ProviderError):
    """The provider said something that NNTP does not allow here; the connection is closed."""


class FilmChanged(ProviderError):
    """What a VOD provider has under this number is another film than a moment ago."""


class NoSuchFilm(GatewayError):
    """The VOD provider has nothing under this number, or we have no account for it."""

    http_status = 404


class ArticleError(GatewayError):
    """This article cannot be had."""


class ArticleMissing(ArticleError):
    """Every enabled provider answered that it has no such article (430, 423, 411, 451)."""

    http_status = 404


class ArticleDamaged(ArticleError):
    """What arrived does not fit: size, offset or CRC-32, from every provider that has it."""

    http_status = 502


class NoCapacity(GatewayError):
    """Not now: everything that could serve this is in use. HTTP 503 with Retry-After."""

    http_status = 503
    retryable = True


class AccountBusy(NoCapacity):
    """A VOD provider refuses an account for now: too many streams, or blocked for a while."""


class PermitTimeout(NoCapacity):
    """No permit to talk to a provider came free before the deadline."""


class LeaseRefused(NoCapacity):
    """No place among the slots that others share."""


class PoolFull(LeaseRefused):
    """As many sessions as *cap* allows, or more, are in *pool*: *count* of them."""

    def __init__(self, pool: str, count: int, cap: int) -> None:
        super().__init__(f"no slot in {pool}: {count} of {cap} in use")
        self.pool = pool
        self.count = count
        self.cap = cap


class StoreRecovering(LeaseRefused):
    """The lease store lost its data; for *retry_after_s*, only those who held a slot get one."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"no new session for {retry_after_s:.1f} s: the lease store lost its data")
        self.retry_after_s = retry_after_s


class LeaseStoreDown(NoCapacity):
    """The store of leases did not answer in time: whether it did what it was asked is unknown."""


class LeaseLost(GatewayError):
    """The slot was taken back while it was in use."""

    http_status = 503
    retryable = True


class ProgramKilled(GatewayError):
    """A program that repairs or unpacks was ended by others: this says nothing of the post."""

    http_status = 503
    retryable = True


class ImportFailed(GatewayError):
    """This NZB cannot become files."""

    http_status = 422


class InvalidNzb(ImportFailed):
    """The document is not an NZB, or holds nothing that can be fetched."""

    http_status = 400


class NotXml(InvalidNzb):
    """What came is no XML at all: a web page's error text, a picture, nothing."""


class IncompletePost(ImportFailed):
    """Articles of the post are missing from every provider."""


class UnsupportedArchive(ImportFailed):
    """The post holds an archive whose contents cannot be streamed."""


class WrongPassword(ImportFailed):
    """The archive is encrypted and none of the known passwords opens it."""
