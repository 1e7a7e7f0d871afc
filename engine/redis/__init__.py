"""Redis: streams, lists, channels; servers, sentinels, clusters."""

from engine.redis.broker import Redis

__all__ = ["Redis"]
