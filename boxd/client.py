"""The client: configuration, credentials, and the services that share them.

Imports next to nothing: what a client needs is loaded when one is made, and what a call needs with the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from boxd.config import Settings
    from boxd.resources._base import Credentials
    from boxd.resources.boxes import BoxService
    from boxd.types import ConfigResult, WhoamiResult


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
    ) -> None:
        """What is not given comes from the environment, else it is the default:

        - `api_key` (`BOXD_API_KEY`): a long-lived key, exchanged for short-lived tokens as needed.
        - `token` (`BOXD_TOKEN`): a token, sent as it is. Used where both are given in the same way; an argument of
          either kind wins over both variables.
        - `api_url` (`BOXD_API_URL`, else `http://boxd.sh:9443`): `http://host:port` for plaintext, `https://host:port`
          for TLS; a bare `host:port` is TLS, except `localhost` and `127.*`.
        - `exchange_url` (`BOXD_EXCHANGE_URL`, else `https://boxd.sh/api/v1/auth/token`): where keys are exchanged.
        - `org` (`BOXD_ORG`, else personal): the organization that calls are about when they name none.

        Raises `AuthenticationError` without any credential, `ValueError` for a malformed URL.
        """
        from boxd.config import Settings
        from boxd.resources._base import Session

        settings = Settings.resolve(api_key=api_key, token=token, api_url=api_url, exchange_url=exchange_url, org=org)
        self._session = Session(settings, _credentials(settings))
        self._box: BoxService | None = None

    @property
    def box(self) -> BoxService:
        """Machines."""
        if self._box is None:
            from boxd.resources.boxes import BoxService

            self._box = BoxService(self._session)
        return self._box

    async def whoami(self) -> WhoamiResult:
        """Who the credential belongs to. RPC: Whoami."""
        from boxd import methods
        from boxd.messages.identity import WhoamiRequest
        from boxd.types import WhoamiResult

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
        from boxd.types import ConfigResult

        response = await self._session.unary(methods.GetConfig, GetConfigRequest())
        return ConfigResult(default_image=response.default_image, zone=response.zone)

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
    return KeyExchange(settings.api_key, settings.exchange_url)
