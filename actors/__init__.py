"""Acting: messages and their receipts, mailboxes, supervisors, pools, and the three stages made of them.

Knows no broker and no topology; imports anyio and nothing else from outside.
"""

from actors.actor import Actor, Life, State
from actors.backoff import Link
from actors.batch import Batch
from actors.batch_worker import HANDLING, BatchWorker
from actors.bound import Bound, Emit, Invoke
from actors.child import Child
from actors.clock import Clock, Timer, VirtualClock
from actors.deadletter import DEAD_LETTER_HEADERS, DEAD_LETTER_PREFIX, dead_letter, text, traced
from actors.deduplicate import Deduplicate
from actors.described import Described, Description, Server
from actors.duplicates import Duplicates
from actors.emitting import RUN
from actors.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    DecodeError,
    DrainTimeout,
    HeadraceError,
    IntensityExceeded,
    MailboxClosed,
    PublishError,
    SettlementError,
    SupervisionError,
    TopologyError,
    Unfinished,
)
from actors.faults import Fault, Faults
from actors.intake import Intake
from actors.lanes import Lanes
from actors.ledger import Ledger
from actors.lineage import only_one
from actors.mailbox import Mailbox, MailboxStatistics
from actors.message import NOWHERE, Headers, Message, Origin, Provenance, delivered
from actors.outbox import Outbox, Outlet
from actors.outcomes import BatchError, Crash, Drop, HandlerOutcome, Reject, RetryAfter
from actors.pool import Pool
from actors.ports import (
    Broker,
    Capabilities,
    Endpoint,
    Pipelined,
    Remembers,
    Seen,
    Sent,
    Sink,
    Source,
)
from actors.publisher import PublishWorker
from actors.receipt import Failure, Outcome, Receipt, join
from actors.redact import redact
from actors.restarts import Restarts, Strategy, Supervision, affected
from actors.retries import Retries, alone
from actors.retry import Retry, next_try
from actors.router import RoutingError, Send, by_result
from actors.seen import Recent, SeenHere
from actors.sieve import Identify, Sieve
from actors.sizing import Sizer, Sizing
from actors.statistics import Counts, Latency, Observer
from actors.step import not_ours
from actors.subscriber import to_all
from actors.supervisor import Supervisor
from actors.turn import Turn
from actors.worker import Worker

__all__ = [
    "DEAD_LETTER_HEADERS",
    "DEAD_LETTER_PREFIX",
    "HANDLING",
    "NOWHERE",
    "RUN",
    "Actor",
    "Batch",
    "BatchError",
    "BatchWorker",
    "Bound",
    "Broker",
    "BrokerError",
    "BrokerRefused",
    "BrokerUnavailable",
    "Capabilities",
    "Child",
    "Clock",
    "Counts",
    "Crash",
    "DecodeError",
    "Deduplicate",
    "Described",
    "Description",
    "DrainTimeout",
    "Drop",
    "Duplicates",
    "Emit",
    "Endpoint",
    "Failure",
    "Fault",
    "Faults",
    "HandlerOutcome",
    "Headers",
    "HeadraceError",
    "Identify",
    "Intake",
    "IntensityExceeded",
    "Invoke",
    "Lanes",
    "Latency",
    "Ledger",
    "Life",
    "Link",
    "Mailbox",
    "MailboxClosed",
    "MailboxStatistics",
    "Message",
    "Observer",
    "Origin",
    "Outbox",
    "Outcome",
    "Outlet",
    "Pipelined",
    "Pool",
    "Provenance",
    "PublishError",
    "PublishWorker",
    "Receipt",
    "Recent",
    "Reject",
    "Remembers",
    "Restarts",
    "Retries",
    "Retry",
    "RetryAfter",
    "RoutingError",
    "Seen",
    "SeenHere",
    "Send",
    "Sent",
    "Server",
    "SettlementError",
    "Sieve",
    "Sink",
    "Sizer",
    "Sizing",
    "Source",
    "State",
    "Strategy",
    "Supervision",
    "SupervisionError",
    "Supervisor",
    "Timer",
    "TopologyError",
    "Turn",
    "Unfinished",
    "VirtualClock",
    "Worker",
    "affected",
    "alone",
    "by_result",
    "dead_letter",
    "delivered",
    "join",
    "next_try",
    "not_ours",
    "only_one",
    "redact",
    "text",
    "to_all",
    "traced",
]
