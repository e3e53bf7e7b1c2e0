"""Exact rate limits and an audit log, kept by a tallykeep cluster.

:class:`Client` blocks, :class:`AsyncClient` is for asyncio. Both make the same calls with the same
failover: ``_call`` decides without I/O what is sent where and when, and they carry it out.
"""

from ._async_client import AsyncClient
from ._audit_log import AuditLog
from ._client import Client
from .errors import NoAnswerError, ProtocolError, RequestError, ServerError, TallykeepError
from .results import Decision, Entry, Page

__all__ = [
    "AsyncClient",
    "AuditLog",
    "Client",
    "Decision",
    "Entry",
    "NoAnswerError",
    "Page",
    "ProtocolError",
    "RequestError",
    "ServerError",
    "TallykeepError",
]
