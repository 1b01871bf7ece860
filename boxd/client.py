"""The client: configuration, credentials, and the services that share them.

Imports next to nothing: what a client needs is loaded when one is made, and what a call needs with the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from httpx import AsyncBaseTransport

    from boxd.config import Settings
    from boxd.options import HTTPOptions
    from boxd.resources._base import Credentials
    from boxd.resources.api_keys import ApiKeyService
    from boxd.resources.billing import BillingService
    from boxd.resources.boxes import BoxService
    from boxd.resources.disks import DiskService
    from boxd.resources.domains import DomainService
    from boxd.resources.networks import NetworkService
    from boxd.resources.orgs import OrgService
    from boxd.resources.snapshots import SnapshotService
    from boxd.resources.templates import TemplateService
    from boxd.resources.tokens import TokenService
    from boxd.resources.variables import EnvService, SecretService
    from boxd.transport import Stats
    from boxd.types.identity import ConfigResult, WhoamiResult


class Compute:
    """A client of boxd.

    ```python
    async with Compute(api_key="...") as c:
        box = await c.box.create(name="my-box")
        print((await box.exec("echo", "hello")).stdout)
        await box.destroy()
    ```

    Works without `async with` too; then `close` it. Belongs to one event loop at a time. Makes no connection before
    the first call.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        token: str | None = None,
        api_url: str | None = None,
        exchange_url: str | None = None,
        org: str | None = None,
        protocol: str | None = None,
        http: HTTPOptions | AsyncBaseTransport | None = None,
    ) -> None:
        """What is not given comes from the environment, else it is the default:

        - `api_key` (`BOXD_API_KEY`): a long-lived key, exchanged for short-lived tokens as needed.
        - `token` (`BOXD_TOKEN`): a token, sent as it is. Used where both are given in the same way; an argument of
          either kind wins over both variables.
        - `api_url` (`BOXD_API_URL`, else `http://boxd.sh:9443`): `http://host:port` for plaintext, `https://host:port`
          for TLS; a bare `host:port` is TLS, except `localhost` and `127.*`; `unix:///path` is a Unix socket.
        - `exchange_url` (`BOXD_EXCHANGE_URL`, else `https://boxd.sh/api/v1/auth/token`): where keys are exchanged.
        - `org` (`BOXD_ORG`, else personal): the organization that calls are about when they name none.
        - `protocol` (`BOXD_PROTOCOL`, else `grpc`): `grpc`, `grpc-web` or `connect`.
        - `http`: TLS, proxies, time-outs, keepalive and the like, as `HTTPOptions`, for calls and for the exchange of
          the key; by default `HTTPOptions()`, with `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` and their like. Or an
          `httpx.AsyncBaseTransport`, which then makes all requests and is closed with the client; `grpc` needs one
          that speaks HTTP/2 and gives trailers.

        `BOXD_TRACE` names a file for a record of all traffic, without its contents: see docs/troubleshooting.md.

        Raises `AuthenticationError` without any credential, `ValueError` for an argument or variable that cannot be
        used; it names which.
        """
        from boxd.config import Settings
        from boxd.resources._base import Session

        settings = Settings.resolve(
            api_key=api_key,
            token=token,
            api_url=api_url,
            exchange_url=exchange_url,
            org=org,
            protocol=protocol,
            http=http,
        )
        self._session = Session(settings, _credentials(settings))
        self._box: BoxService | None = None

    @property
    def box(self) -> BoxService:
        """Machines."""
        if self._box is None:
            from boxd.resources.boxes import BoxService

            self._box = BoxService(self._session)
        return self._box

    @property
    def template(self) -> TemplateService:
        """Templates: images and configurations, frozen together."""
        from boxd.resources.templates import TemplateService

        return TemplateService(self._session)

    @property
    def snapshot(self) -> SnapshotService:
        """Snapshots: machines frozen under a name, to make others from."""
        from boxd.resources.snapshots import SnapshotService

        return SnapshotService(self._session)

    @property
    def disk(self) -> DiskService:
        """Disks that outlive machines."""
        from boxd.resources.disks import DiskService

        return DiskService(self._session)

    @property
    def domain(self) -> DomainService:
        """Host names of your own that lead to machines."""
        from boxd.resources.domains import DomainService

        return DomainService(self._session)

    @property
    def network(self) -> NetworkService:
        """Private networks between machines."""
        from boxd.resources.networks import NetworkService

        return NetworkService(self._session)

    @property
    def token(self) -> TokenService:
        """Short-lived tokens to hand on."""
        from boxd.resources.tokens import TokenService

        return TokenService(self._session)

    @property
    def api_key(self) -> ApiKeyService:
        """API keys."""
        from boxd.resources.api_keys import ApiKeyService

        return ApiKeyService(self._session)

    @property
    def env(self) -> EnvService:
        """Environment variables that all machines get."""
        from boxd.resources.variables import EnvService

        return EnvService(self._session)

    @property
    def secret(self) -> SecretService:
        """Secrets that all machines get as environment variables."""
        from boxd.resources.variables import SecretService

        return SecretService(self._session)

    @property
    def org(self) -> OrgService:
        """Organizations and who belongs to them."""
        from boxd.resources.orgs import OrgService

        return OrgService(self._session)

    @property
    def billing(self) -> BillingService:
        """Plans, payment, and what was used."""
        from boxd.resources.billing import BillingService

        return BillingService(self._session)

    async def whoami(self) -> WhoamiResult:
        """Who the credential belongs to. RPC: Whoami."""
        from boxd import methods
        from boxd.messages.identity import WhoamiRequest
        from boxd.types.identity import WhoamiResult

        response = await self._session.unary(methods.Whoami, WhoamiRequest())
        return WhoamiResult(
            user_id=response.user_id,
            fingerprints=[*response.pubkey_fingerprints],
            default_network_id=response.default_network_id,
        )

    async def config(self) -> ConfigResult:
        """What the service says about itself. RPC: GetConfig."""
        from boxd import methods
        from boxd.messages.identity import GetConfigRequest
        from boxd.types.identity import ConfigResult

        response = await self._session.unary(methods.GetConfig, GetConfigRequest())
        return ConfigResult(default_image=response.default_image, zone=response.zone)

    async def link_ssh_key(self, public_key: str, label: str = "", device_id: str = "") -> None:
        """Let an SSH key, in the form of an `authorized_keys` line, into the caller's machines. `label` is for people;
        `device_id` is for clients on a device, which keep one. Raises `InvalidArgumentError` for what is no key.
        RPC: LinkSshKey."""
        from boxd import methods
        from boxd.messages.ssh_key import LinkSshKeyRequest

        request = LinkSshKeyRequest(pubkey=public_key, device_id=device_id, label=label)
        await self._session.unary(methods.LinkSshKey, request)

    def stats(self) -> Stats:
        """What this client has done so far, and what is open now: connections, streams, bytes, calls, repetitions. May
        be called at any time and from any thread; it costs no call."""
        return self._session.stats()

    async def close(self) -> None:
        """End the calls under way and close the connections, in about a second at most. Idempotent; a call after it
        is a `BoxdError`."""
        await self._session.aclose()

    async def __aenter__(self) -> Compute:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        settings = self._session.settings
        credential = "token" if settings.api_key is None else "api_key"
        org = f" org={settings.org!r}" if settings.org else ""
        state = " closed" if self._session.closed else ""
        return f"<Compute {settings.endpoint}{org} with {credential}{state}>"


def _credentials(settings: Settings) -> Credentials:
    from boxd.auth import KeyExchange, TokenSource

    if settings.token is not None:
        return TokenSource(settings.token)
    assert settings.api_key is not None
    return KeyExchange(settings.api_key, settings.exchange_url, http=settings.http)
