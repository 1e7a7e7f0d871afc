"""What a stage waits for, and how that is said in one sentence. Pure: it judges what was `Observed`."""

from collections.abc import Mapping

from engine.health.observed import Observed

REASONS: Mapping[str, str] = {
    "broker": "its broker is out of reach, refuses, or does not confirm",
    "duplicates": "the store that knows what was done is out of reach",
    "source": "its source is connected and has messages, and delivers none",
    "burial": "a dead letter is not confirmed",
    "handler": "its handler does not return",
    "start": "none of its workers has started",
    "batch": "a batch is not full",
    "retry": "a failed message waits for its next try",
    "downstream": "a stage behind it does not go on",
    "paused": "it was told to pause",
}
"""What a stage can wait for."""


def waiting_for(seen: Observed, unmoved: float) -> str | None:
    """What a stage waits for that has not moved for so long; None where it waits for nothing in particular."""
    if not seen.connected:
        if not seen.tried and not seen.running:
            return "start"
        return "broker" if seen.trouble is not None or seen.duplicates is None else "duplicates"
    if not seen.work:
        return "paused" if seen.paused else None
    if seen.burial is not None:
        return "burial"
    at_hand = seen.held - seen.retrying
    for reason, applies in (
        ("handler", seen.in_hand is not None and seen.in_hand * 2 >= unmoved),
        ("downstream", seen.blocked),
        ("retry", seen.retrying > 0),
        ("broker", seen.settling or (seen.kind == "publisher" and at_hand > 0)),
        ("start", seen.waiting > 0 and not seen.running),
        ("handler", seen.in_hand is not None),
        ("batch", seen.waiting > 0 and at_hand <= 0),
        ("downstream", seen.open > 0),
        ("paused", seen.paused),
        ("source", bool(seen.pending) and seen.waiting + seen.held == 0),
    ):
        if applies:
            return reason
    return None


def sentence(seen: Observed, reason: str | None, unmoved: float | None) -> str:
    """What a stage waits for, since when, on whom, and what to do."""
    since = f"{unmoved or 0:.0f} s"
    if reason == "broker":
        if seen.trouble is not None:
            return f"{seen.stage} waits for its broker: {seen.trouble}; see to the broker, it goes on by itself"
        what = "publishes" if seen.kind == "publisher" else "acknowledges"
        return f"{seen.stage} has waited {since} for its broker to confirm what it {what}; see to the broker's log"
    if reason == "start" and not seen.connected:
        return (
            f"{seen.stage} has no worker that has started, and fetches nothing before; look at on_start, and at the log"
        )
    return _SENTENCES.get(reason or "", "{stage} {state}").format(
        stage=seen.stage,
        since=since,
        state="is moving" if seen.work else "is idle",
        hand=f"{seen.in_hand or 0:.0f} s",
        limit="it has no timeout=" if seen.timeout is None else f"its timeout={seen.timeout:g}",
        retrying=seen.retrying,
        pending=seen.pending,
        burial=seen.burial,
        duplicates=seen.duplicates,
        waiting=seen.waiting,
    )


_SENTENCES = {
    "duplicates": "{stage} cannot tell what was done already: {duplicates}; see to that store, it goes on by itself",
    "source": "{stage}'s source is connected and has {pending} messages, but has delivered none for {since}; "
    "its consumer is made anew, see the broker's log if that does not help",
    "burial": "{stage} cannot bury a dead letter: {burial}; it is tried again, its original stays unacknowledged",
    "handler": "{stage}'s handler has been at a message for {hand}, {limit}; look at what it awaits, or set timeout=",
    "start": "{stage} has {waiting} messages and no worker that has started; look at on_start, and at the log",
    "batch": "{stage} has waited {since} for a batch to fill",
    "retry": "{stage} has not moved on for {since}: {retrying} failed messages wait for their next try; "
    "the log says why they fail",
    "downstream": "{stage} has waited {since} for a stage behind it",
    "paused": "{stage} is paused; resume it to go on",
}
