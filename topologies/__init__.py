"""Declaring: topologies, the graphs compiled of them, their handlers, and how they are drawn.

Knows actors and pydantic, and no broker.
"""

from logging import Logger

from topologies.asyncapi import asyncapi
from topologies.asyncapi_forms import DocumentFormat, page, page_policy, render
from topologies.codec import Codec, codec, encode, encoder_of, guess, refusal, unpublishable
from topologies.declare import Publisher, PublisherOptions, StageOptions
from topologies.draw import Format, draw
from topologies.graph import MOST_WORKERS, Graph, Kind, Lifespan, Settings, Stage, Workers
from topologies.handler import Handler, Middleware
from topologies.inject import Context, Depends, Header
from topologies.layout import Box, Layout, arrange
from topologies.outline import Outline, outline, summary
from topologies.template import Template
from topologies.topology import Topology

__all__ = [
    "MOST_WORKERS",
    "Box",
    "Codec",
    "Context",
    "Depends",
    "DocumentFormat",
    "Format",
    "Graph",
    "Handler",
    "Header",
    "Kind",
    "Layout",
    "Lifespan",
    "Logger",
    "Middleware",
    "Outline",
    "Publisher",
    "PublisherOptions",
    "Settings",
    "Stage",
    "StageOptions",
    "Template",
    "Topology",
    "Workers",
    "arrange",
    "asyncapi",
    "codec",
    "draw",
    "encode",
    "encoder_of",
    "guess",
    "outline",
    "page",
    "page_policy",
    "refusal",
    "render",
    "summary",
    "unpublishable",
]
