"""Certificates of a made-up authority, for servers that speak TLS and clients that check it."""

import ssl
from pathlib import Path


class Certificates:
    """A folder with an authority, a server's certificate and a client's, made anew for each session.

    `server` and `client` are PEM files of a certificate, `server_key` and `client_key` their keys (PKCS #8),
    `server_pair` both in one file. The server's is for localhost and 127.0.0.1, the client's common name is headrace.
    `stranger` is an authority that has signed none of them.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self.stranger = folder / "stranger.pem"
        self.server = folder / "server.pem"
        self.server_key = folder / "server.key"
        self.server_pair = folder / "server-pair.pem"
        self.client = folder / "client.pem"
        self.client_key = folder / "client.key"
        folder.mkdir(parents=True, exist_ok=True)
        self._make()

    def context(self, *, client: bool = False) -> ssl.SSLContext:
        """Return what a client needs to trust the servers; with `client`, it shows its own certificate too."""
        context = ssl.create_default_context(cafile=self.authority)
        if client:
            context.load_cert_chain(self.client, self.client_key)
        return context

    def _make(self) -> None:
        # Imported here, because importing takes longer than most tests and most tests need no certificate.
        import trustme
        from cryptography.hazmat.primitives import serialization

        def pkcs8(key: bytes) -> bytes:
            return serialization.load_pem_private_key(key, password=None).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )

        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1")
        client = authority.issue_cert("client@headrace", common_name="headrace")
        self.authority.write_bytes(authority.cert_pem.bytes())
        self.stranger.write_bytes(trustme.CA().cert_pem.bytes())
        for pair, certificate, key in ((server, self.server, self.server_key), (client, self.client, self.client_key)):
            certificate.write_bytes(pair.cert_chain_pems[0].bytes())
            key.write_bytes(pkcs8(pair.private_key_pem.bytes()))  # Kafka reads no other form
        self.server_pair.write_bytes(self.server_key.read_bytes() + self.server.read_bytes())
