"""`only_one`: of which message a result is the only one, in words that are the same after a restart."""

from actors.message import Message


def only_one(message: Message) -> str | None:
    """The stage and place that this result was made of, where nothing else was made of that; None for any other.

    What a generator yields, what goes to several stages, and what was made of a batch are not the only ones of
    their kind: made again, they cannot be told from one another. And a message that was made of none has no place.
    """
    receipt = getattr(message, "receipt", None)
    if receipt is None or receipt.branched or receipt.message is None:
        return None
    lineage = getattr(receipt.owner, "lineage", "")
    place = getattr(receipt.message.origin, "place", None)
    return f"{lineage} {place}" if lineage and place else None
