"""The tables of the library, of the checks and of the queue.

One description for all databases; the migrations in `migrations/versions` bring a database
here, and a test keeps the two equal. What is large lies in the last column of its row: SQLite
then reads the columns before it without touching the pages that it spills over.

Packed columns: `nzb` is the document, compressed by zlib; `posted_files.parts` a
`gateway.nzb.extents.PartTable` and `files.runs` a chain of `gateway.nzb.archive.Stretch`es, as
`gateway.library.packing` writes them. Times are seconds since 1970 (UTC), sizes bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0010"
"""The schema that this program works with: the newest of `migrations/versions`."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# Names sort and compare by their bytes everywhere: pages of a listing are continued by name.
_Name = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself in a column of type INTEGER only.
_RowId = BigInteger().with_variant(Integer(), "sqlite")

releases = Table(
    "releases",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("category", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("created", Float, nullable=False),
    Column("password", Text),
    Column("nzb", LargeBinary, nullable=False),
    UniqueConstraint("category", "name"),
    sqlite_autoincrement=True,
)
Index("ix_releases_created", releases.c.created, releases.c.id)

posted_files = Table(
    "posted_files",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("name", _Name, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("parts", LargeBinary, nullable=False),
    UniqueConstraint("release_id", "ordinal"),
    sqlite_autoincrement=True,  # an id used twice would give one post the offsets of another
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),  # random, never used again: links hold it
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("folder", _Name, nullable=False),  # "" or "a/b"
    Column("name", _Name, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", Float, nullable=False),
    Column("etag", Text, nullable=False),
    Column("runs", LargeBinary, nullable=False),
    UniqueConstraint("release_id", "folder", "name"),
)

# Where files lie that were downloaded; they have no runs.
disk_files = Table(
    "disk_files",
    metadata,
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("path", _Name, nullable=False),
)
Index("ix_disk_files_path", disk_files.c.path)

# Files of removed releases that are still to go from the disk: see `gateway.library.downloaded`.
disk_removals = Table(
    "disk_removals",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("path", _Name, nullable=False),
    Column("folder", _Name, nullable=False),  # of it within its release
)

# When a file was last read, to the hour; no row: never.
last_reads = Table(
    "last_reads",
    metadata,
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("at", Float, nullable=False),
)

# Players that name a film by a number get this one. Never used again, as the id is not.
file_numbers = Table(
    "file_numbers",
    metadata,
    Column("number", _RowId, primary_key=True),
    Column(
        "file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), nullable=False, unique=True
    ),
    sqlite_autoincrement=True,
)

# The folders and links that imports leave for Sonarr and Radarr: see `gateway.library.links`.
links = Table(
    "links",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("category", _Name, nullable=False),
    Column("folder", _Name, nullable=False),  # "" for a job's own folder, "job", "job/a"
    Column("name", _Name, nullable=False),
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE")),  # none: a folder
    Column("made", Float, nullable=False),
    UniqueConstraint("category", "folder", "name"),
)
Index("ix_links_release_id", links.c.release_id)
Index("ix_links_file_id", links.c.file_id)

# How many links an import has left, and when the last one was taken away; no row: none were left.
left_links = Table(
    "left_links",
    metadata,
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("made", Integer, nullable=False),
    Column("gone_at", Float),  # none: some are still there, or went with their files
)

# What checks of a file have found: see `gateway.library.health`. A row for every file.
checks = Table(
    "checks",
    metadata,
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("checked_at", Float, nullable=False, server_default=text("0")),  # 0: never
    Column("decided_at", Float),
    Column("verdict", Text, nullable=False, server_default=text("'unknown'")),
    Column("articles", Integer, nullable=False, server_default=text("0")),
    Column("missing", Integer, nullable=False, server_default=text("0")),
    Column("unknown", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("holes", Text, nullable=False, server_default=text("''")),
    Column("due_at", Float, nullable=False, server_default=text("0")),  # 0: before all others
    Column("unanswered", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("failed_at", Float),  # the first check of those in a row that found it FAILED
    Column("confirmed_at", Float),
    Column("damaged", Text, nullable=False, server_default=text("''")),  # of the holes
    Column("playable", Text, nullable=False, server_default=text("''")),
    Column("why", Text, nullable=False, server_default=text("''")),
    Column("lost", Text, nullable=False, server_default=text("''")),  # bytes of the file
    Column("lost_bytes", BigInteger, nullable=False, server_default=text("0")),
)

# Films whose holes are filled: see `gateway.library.editions`. No row: never read so, no holes.
editions = Table(
    "editions",
    metadata,
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("reader", Text, nullable=False),  # who has begun to read what has the file's ETag
    Column("holes", Text, nullable=False),  # those that this ETag stands for, as in `checks`
)

# The folders of the categories of which editions are kept.
edition_folders = Table("edition_folders", metadata, Column("folder", _Name, primary_key=True))

# Each with all that is needed to find the file: whose check is longest ago, whose is most overdue,
# which were found healthy last.
Index("ix_checks_checked_at", checks.c.checked_at, checks.c.file_id)
Index("ix_checks_due_at", checks.c.due_at, checks.c.file_id)
Index("ix_checks_verdict", checks.c.verdict, checks.c.decided_at, checks.c.file_id)
Index(
    "ix_checks_confirmed_at",
    checks.c.confirmed_at,
    sqlite_where=checks.c.confirmed_at.is_not(None),
    postgresql_where=checks.c.confirmed_at.is_not(None),
)

# The outcomes of the checks of each file, the latest last: see `gateway.library.check_history`.
check_history = Table(
    "check_history",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("file_id", Text, ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Column("health", Text, nullable=False),
    Column("is_change", Boolean, nullable=False),  # another outcome than that of the one before
    Column("deep", Boolean, nullable=False),
    Column("articles", Integer, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("unknown", Integer, nullable=False),
    Column("took_s", Float, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_check_history_file_id", check_history.c.file_id, check_history.c.id)

# A row while no file is checked by itself, because a provider is ill.
check_brake = Table(
    "check_brake",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("since", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

# The job that a release came of: an *arr knows it by that id, and removes the job after its import.
release_jobs = Table(
    "release_jobs",
    metadata,
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("nzo_id", Text, nullable=False),
)

# What an *arr is to be told, or has been: see `gateway.library.replacement`.
replacements = Table(
    "replacements",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="SET NULL")),
    Column("nzo_id", Text, nullable=False),
    Column("category", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("by_hand", Boolean, nullable=False, server_default=text("false")),
    Column("step", Text, nullable=False, server_default=text("'waiting'")),
    Column("asked", Float, nullable=False),
    Column("arr", Text, nullable=False, server_default=text("''")),
    Column("titles", Text, nullable=False, server_default=text("''")),  # with spaces between
    Column("title", Text, nullable=False, server_default=text("''")),
    Column("sent", Float),  # counts for the limits
    Column("marked", Float),
    Column("ended", Float),
    Column("answer", Text, nullable=False, server_default=text("''")),
    Column("note", Text, nullable=False, server_default=text("''")),  # why it waits
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    Column("claimed_until", Float, nullable=False, server_default=text("0")),
    Column("known_to", Text, nullable=False, server_default=text("''")),  # who was asked in vain
    sqlite_autoincrement=True,
)
_UNFINISHED = text("step IN ('waiting', 'marking', 'searching')")
Index(
    "uq_replacements_unfinished",
    replacements.c.release_id,
    unique=True,
    sqlite_where=_UNFINISHED,
    postgresql_where=_UNFINISHED,
)
Index("ix_replacements_release_id", replacements.c.release_id)
Index("ix_replacements_step", replacements.c.step, replacements.c.not_before)
Index("ix_replacements_sent", replacements.c.sent)

jobs = Table(
    "jobs",
    metadata,
    Column("nzo_id", Text, primary_key=True),
    Column("name", _Name, nullable=False),
    Column("filename", Text, nullable=False),
    Column("category", _Name, nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("position", Integer, nullable=False),  # among those of one priority
    Column("added", Float, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("parts_total", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    Column("note", Text, nullable=False, server_default=text("''")),  # why it waits
    Column("failure", Text, nullable=False, server_default=text("''")),
    Column("completed", Float),
    Column("took_s", Float),
    Column("archived", Boolean, nullable=False, server_default=text("false")),
    Column("release_id", _RowId, ForeignKey("releases.id", ondelete="SET NULL")),
    Column("password", Text),
    Column("url", Text),  # where the NZB is fetched from, if it did not come with the job
    Column("posted", Float),  # the oldest date in the NZB
    Column("nzb_bytes", BigInteger),  # of the document as it came; none until it has come
    Column("nzb", LargeBinary),  # none once the release keeps it, and until it has come
    CheckConstraint("nzo_id <> ''", name="nzo_id"),
)

# The queue in its order: what is unfinished, the highest priority first.
Index(
    "ix_jobs_queue",
    jobs.c.priority.desc(),
    jobs.c.position,
    jobs.c.added,
    jobs.c.nzo_id,
    sqlite_where=jobs.c.completed.is_(None),
    postgresql_where=jobs.c.completed.is_(None),
)
# The history, the newest first; an unfinished job is in neither of its pages.
Index(
    "ix_jobs_history",
    jobs.c.archived,
    jobs.c.completed.desc(),
    jobs.c.added.desc(),
    jobs.c.nzo_id,
    sqlite_where=jobs.c.completed.is_not(None),
    postgresql_where=jobs.c.completed.is_not(None),
)
Index("ix_jobs_state", jobs.c.state)
Index("ix_jobs_category", jobs.c.category, jobs.c.added)
Index("ix_jobs_release_id", jobs.c.release_id)

# A row while the whole queue rests; until: when it is over, none if somebody has to end it.
queue_rest = Table(
    "queue_rest",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("until", Float),
)

# What each provider has sent, by the local day ("2026-11-22"); articles tried, and found.
traffic = Table(
    "traffic",
    metadata,
    Column("provider", _Name, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("received", BigInteger, nullable=False, server_default=text("0")),
    Column("tried", BigInteger, nullable=False, server_default=text("0")),
    Column("found", BigInteger, nullable=False, server_default=text("0")),
)
