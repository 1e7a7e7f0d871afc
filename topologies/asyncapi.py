"""Graphs as an AsyncAPI 3.1 document: servers, channels, operations, messages and their schemas."""

from collections.abc import Sequence
from typing import Any

from topologies.asyncapi_channels import Channels, carried, message
from topologies.asyncapi_names import Names
from topologies.asyncapi_operations import Operation, operations
from topologies.asyncapi_schemas import Schemas
from topologies.graph import Graph
from topologies.outline import plain

SPECIFICATION = "3.1.0"
_DEAD_LETTER = "DeadLetter"
_DEAD_HEADERS = {
    "reason": "What the error said.",
    "error-type": "Its class.",
    "traceback": "Where it was raised.",
    "stage": "The stage that failed.",
    "attempts": "How often it was tried.",
    "first-failure": "When it failed first.",
    "last-failure": "When it failed last.",
    "origin-broker": "The kind of broker that it came from.",
    "origin-destination": "Where it came from.",
    "origin-partition": "The partition, where there are any.",
    "origin-offset": "The offset, where there is one.",
}
_ALWAYS = [name for name in _DEAD_HEADERS if name not in ("origin-partition", "origin-offset")]


def asyncapi(graphs: Sequence[Graph], *, title: str = "", version: str = "0.1.0") -> dict[str, Any]:
    """The document, made of what JSON knows: the same graphs give the same document, in the same order.

    It tells where servers are and which kind of login they want, and no user, password or token. `title` is made of
    the topologies' names unless it is given; `version` is that of what is documented.
    """
    found = list(operations(graphs))
    schemas = Schemas(wanted for each in found for wanted in each.wanted())
    channels, names = Channels(schemas), Names()
    made = {names.free(_wish(each)): _operation(each, channels, schemas) for each in found}
    topologies = list(dict.fromkeys(graph.name for graph in graphs))
    components: dict[str, Any] = {}
    if any(each.action == "bury" for each in found):
        components["messages"] = {_DEAD_LETTER: _dead_letter()}
    if schemas.definitions:
        components["schemas"] = dict(schemas.definitions)
    if channels.security:
        components["securitySchemes"] = dict(sorted(channels.security.items()))
    document = {
        "asyncapi": SPECIFICATION,
        "info": {
            "title": title or ", ".join(topologies) or "nothing",
            "version": version,
            "tags": [{"name": name} for name in topologies],
        },
        "defaultContentType": "application/json",
        "servers": channels.servers,
        "channels": channels.channels,
        "operations": made,
    }
    return document | ({"components": components} if components else {})


def _wish(operation: Operation) -> str:
    suffix = ".dead" if operation.action == "bury" else ""
    return f"{operation.topology}.{operation.stage.name}{suffix}"


def _operation(operation: Operation, channels: Channels, schemas: Schemas) -> dict[str, Any]:
    channel = channels.channel(operation)
    at, buried = operation.at, operation.action == "bury"
    made: dict[str, Any] = {
        "action": "receive" if operation.action == "receive" else "send",
        "title": f"{operation.stage.name}: dead letters" if buried else operation.stage.name,
        "channel": {"$ref": f"#/channels/{channel}"},
    }
    if operation.summary:
        made["summary"] = operation.summary
    if operation.details:
        made["description"] = operation.details
    made["tags"] = [{"name": operation.topology}]
    if at.binding and at.operation:
        made["bindings"] = {at.binding: dict(at.operation)}
    messages = _messages(operation, channel, channels, schemas)
    made["messages"] = [_ref(channel, name) for name in dict.fromkeys(messages)]
    if operation.replies:
        made["reply"] = _reply(operation, channels, schemas)
    made["x-headrace"] = _ours(operation)
    return made


def _messages(operation: Operation, channel: str, channels: Channels, schemas: Schemas) -> list[str]:
    if operation.action == "bury":
        return [channels.buried(channel, {"$ref": f"#/components/messages/{_DEAD_LETTER}"})]
    received, asked = operation.action == "receive", bool(operation.replies)
    headers = {**operation.headers, **(carried(operation.at) if asked else {})}
    return [
        channels.message(
            channel,
            message(
                schemas,
                body,
                written=not received,
                headers=headers,
                required=operation.required,
                correlation=operation.at.correlation_id if asked else "",
                key=operation.stage.key_field if operation.at.binding == "kafka" else "",
            ),
        )
        for body in operation.bodies
    ]


def _reply(operation: Operation, channels: Channels, schemas: Schemas) -> dict[str, Any]:
    at, channel = operation.at, channels.replies(operation)
    correlation = {name: told for name, told in carried(at).items() if name == at.correlation_id}
    names = [
        channels.message(
            channel, message(schemas, body, written=True, headers=correlation, correlation=at.correlation_id)
        )
        for body in operation.replies
    ]
    made: dict[str, Any] = {"channel": {"$ref": f"#/channels/{channel}"}}
    if at.reply_to:
        made["address"] = {
            "location": f"$message.header#/{at.reply_to}",
            "description": "Only messages that name a place for it are answered.",
        }
    made["messages"] = [_ref(channel, name) for name in dict.fromkeys(names)]
    return made


def _ref(channel: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{name}"}


def _ours(operation: Operation) -> dict[str, Any]:
    """What AsyncAPI has no word for: the stage, and the options that its endpoint was declared with."""
    options = {name: plain(value) for name, value in operation.endpoint.options.items()}
    return {"topology": operation.topology, "stage": operation.stage.name} | ({"options": options} if options else {})


def _dead_letter() -> dict[str, Any]:
    return {
        "name": _DEAD_LETTER,
        "title": "dead letter",
        "summary": "A message that failed, as it came, with headers that say why.",
        "headers": {
            "type": "object",
            "properties": {
                f"headrace-{name}": {"type": "string", "description": told} for name, told in _DEAD_HEADERS.items()
            },
            "required": [f"headrace-{name}" for name in _ALWAYS],
        },
        "payload": {"description": "The body as it came, byte for byte: it may be what nothing could decode."},
    }
