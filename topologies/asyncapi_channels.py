"""The servers and channels of an AsyncAPI document, and the messages on each channel."""

from typing import Any

from actors import Broker, Description, Server
from topologies.asyncapi_names import Names, parameterized, safe
from topologies.asyncapi_operations import Operation
from topologies.asyncapi_schemas import Schemas, content_type
from topologies.hints import shown

KAFKA_MESSAGE = "0.5.0"
"""The version of Kafka's bindings for messages."""
SECURITY: dict[str, dict[str, Any]] = {
    "userPassword": {"type": "userPassword"},
    "plain": {"type": "plain", "description": "SASL PLAIN"},
    "scramSha256": {"type": "scramSha256", "description": "SASL SCRAM-SHA-256"},
    "scramSha512": {"type": "scramSha512", "description": "SASL SCRAM-SHA-512"},
    "gssapi": {"type": "gssapi", "description": "SASL GSSAPI: Kerberos"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "SASL OAUTHBEARER"},
    "token": {"type": "apiKey", "in": "password", "description": "A token"},
    "nkey": {"type": "asymmetricEncryption", "description": "An nkey, or credentials with one"},
    "X509": {"type": "X509", "description": "A client's certificate"},
}
"""The kinds of login that a `Server` may name."""
_KINDS = {
    "pattern": "Every topic whose whole name matches this pattern.",
    "exchange": "The routing key is each message's key.",
}
"""What to say of a channel whose address is not known."""


class Channels:
    """Collects them: the same place of the same server is one channel, whoever uses it."""

    def __init__(self, schemas: Schemas) -> None:
        self.servers: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.security: dict[str, dict[str, Any]] = {}
        self._schemas = schemas
        self._server_names: list[tuple[tuple[Server, Broker | None], str]] = []
        self._channel_names: dict[tuple[str, ...], str] = {}
        self._servers, self._channels = Names(), Names()
        self._messages: dict[str, Names] = {}

    def channel(self, operation: Operation) -> str:
        """The name of the operation's channel, made where it is new."""
        at, title = operation.at, operation.endpoint.name
        template = operation.action == "send"
        server = self._server(operation.endpoint.broker, at.server, operation.endpoint.capabilities.embedded)
        address, fields = (at.address, {}) if at.address is None else _address(at.address, template)
        known = (server, at.kind, title, str(at.address), str(template and bool(fields)))
        if known not in self._channel_names:
            name = self._channel_names[known] = self._channels.free(f"{server}.{safe(title)}")
            self._open(name, server, title, address, _KINDS.get(at.kind, "") if address is None else "")
            if fields:
                self.channels[name]["parameters"] = self._parameters(fields, operation)
        name = self._channel_names[known]
        if at.binding and at.channel:
            bindings = self.channels[name].setdefault("bindings", {})
            bindings[at.binding] = {**at.channel, **bindings.get(at.binding, {})}
        return name

    def replies(self, operation: Operation) -> str:
        """The name of the channel that answers come by: wherever who asked wants them."""
        server = self._server(operation.endpoint.broker, operation.at.server, operation.endpoint.capabilities.embedded)
        known = (server, "replies")
        if known not in self._channel_names:
            name = self._channel_names[known] = self._channels.free(f"{server}.replies")
            self._open(name, server, "replies", None, "Where who asked has said to answer.")
        return self._channel_names[known]

    def message(self, channel: str, made: dict[str, Any]) -> str:
        """The name of a message on a channel; those that are the same but for headers and keys are one."""
        messages: dict[str, Any] = self.channels[channel]["messages"]
        for name, known in messages.items():
            if (known.get("payload"), known.get("contentType")) == (made.get("payload"), made.get("contentType")):
                _merge(known, made)
                return str(name)
        name = self._messages[channel].free(made["name"])
        messages[name] = made
        return name

    def buried(self, channel: str, ref: dict[str, str]) -> str:
        """The name on this channel of the message that all dead letters are."""
        messages: dict[str, Any] = self.channels[channel]["messages"]
        for name, known in messages.items():
            if known == ref:
                return str(name)
        name = self._messages[channel].free("DeadLetter")
        messages[name] = dict(ref)
        return name

    def _open(self, name: str, server: str, title: str, address: str | None, description: str) -> None:
        told = {"description": description} if description else {}
        servers = [{"$ref": f"#/servers/{server}"}]
        self.channels[name] = {"title": title, "address": address, **told, "servers": servers, "messages": {}}
        self._messages[name] = Names()

    def _server(self, broker: Broker, server: Server, embedded: bool) -> str:
        for (known, other), name in self._server_names:
            if known == server and (other is None or other is broker):
                return name
        name = self._servers.free(broker.system)
        self._server_names.append(((server, broker if embedded else None), name))
        made: dict[str, Any] = {"host": server.host, "protocol": server.protocol}
        if server.path:
            made["pathname"] = server.path
        if embedded:
            made["description"] = "Embedded: within the process, without a server."
        if server.security:
            made["security"] = [{"$ref": f"#/components/securitySchemes/{kind}"} for kind in server.security]
            self.security |= {kind: SECURITY[kind] for kind in server.security}
        self.servers[name] = made
        return name

    def _parameters(self, fields: dict[str, str], operation: Operation) -> dict[str, Any]:
        found = {}
        bodies = [self._schemas.of(body, "serialization") for body in operation.bodies]
        for name, path in fields.items():
            made: dict[str, Any] = {}
            field = next(filter(None, (self._schemas.field(body, path) for body in bodies)), {})
            if isinstance(field.get("description"), str):
                made["description"] = field["description"]
            values = field.get("enum") or ([field["const"]] if "const" in field else [])
            if values:
                made["enum"] = [str(value) for value in values]
            made["location"] = f"$message.payload#/{path.replace('.', '/')}"
            found[name] = made
        return found


def message(
    schemas: Schemas,
    body: Any,
    *,
    written: bool,
    headers: dict[str, Any],
    required: tuple[str, ...] = (),
    correlation: str = "",
    key: str = "",
) -> dict[str, Any]:
    """A message as a document has it. `correlation` names what carries the correlation id, `key` a field of it."""
    payload = schemas.of(body, "serialization" if written else "validation")
    title = "any body" if body is Any else shown(body)
    made: dict[str, Any] = {"name": "Body" if body is Any else safe(title), "title": title}
    summary = schemas.resolved(payload).get("description")
    if isinstance(summary, str):
        made["summary"] = summary.strip().partition("\n")[0]
    kind = content_type(body)
    if kind is not None:
        made["contentType"] = kind
    if headers:
        made["headers"] = {"type": "object", "properties": headers} | (
            {"required": sorted(required)} if required else {}
        )
    if correlation:
        made["correlationId"] = {"location": f"$message.header#/{correlation}"}
    if key:
        field = {word: value for word, value in schemas.field(payload, key).items() if word != "default"}
        made["bindings"] = {"kafka": {"key": field or {"type": "string"}, "bindingVersion": KAFKA_MESSAGE}}
    made["payload"] = payload
    return made


def _merge(known: dict[str, Any], made: dict[str, Any]) -> None:
    """A message on one channel is what all who use it say of it."""
    if "headers" in made:
        headers = known.setdefault("headers", {"type": "object", "properties": {}})
        headers["properties"] = {**made["headers"]["properties"], **headers["properties"]}
        required = sorted({*headers.get("required", ()), *made["headers"].get("required", ())})
        if required:
            headers["required"] = required
    for word in ("correlationId", "bindings"):
        if word in made:
            known.setdefault(word, made[word])


def _address(address: str, template: bool) -> tuple[str | None, dict[str, str]]:
    if template:
        return parameterized(address)
    return (None if "{" in address or "}" in address else address), {}


def carried(at: Description) -> dict[str, Any]:
    """The headers that a message has which asks for an answer."""
    told = {
        at.reply_to: "Where the answer goes; without it there is none.",
        at.correlation_id: "What the answer repeats, so that it finds its question.",
    }
    return {name: {"type": "string", "description": words} for name, words in told.items() if name}
