"""`Settings`: how the command runs, from its options, the environment and a file, in that order."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from actors import HeadraceError
from engine.telemetry.logs import LogFormat, LogLevel

PREFIX = "HEADRACE_"
FILE = "headrace.toml"
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?|\[?[0-9a-fA-F:]*:[0-9a-fA-F:.]*\]?")
"""A name that a request may be addressed to, without scheme and port; digits and their dots and colons are one too."""
SENDABLE = re.compile(r"[\x21-\x7e]{8,}")
"""A token that can be told in a header, and not be guessed in an afternoon."""
SENDABLE_IS = "expected at least 8 characters of ASCII, none of them a blank"


class SettingsError(HeadraceError):
    """A setting is not what it may be; says which one and where it stands."""


class Settings(BaseSettings):
    """What `headrace run` can be told beside its targets; each also as `HEADRACE_...` and in `headrace.toml`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid")

    burst: bool = False
    """End, drained, when no source has anything left."""
    drain: float = Field(25.0, ge=0, allow_inf_nan=False)
    """Seconds that a drain may take."""
    require_healthy: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Seconds after which all brokers have to be connected; without it they are waited for without end."""
    stalled_after: float = Field(60.0, gt=0, allow_inf_nan=False)
    """Seconds without any progress after which a stage that has work counts as stalled."""
    http: str | None = None
    """Where to serve probes, API and page: `127.0.0.1:8080`. Without it nothing is opened, and nothing imported."""
    token: SecretStr | None = None
    """What has to be sent to change something, or to see a message."""
    http_guard_reading: bool = False
    """Nothing of the API is shown without the token either."""
    http_hosts: str = ""
    """Names that requests may be addressed to, beside localhost and addresses in digits; separated by commas."""
    http_probes: bool = True
    http_metrics: bool = True
    http_asyncapi: bool = True
    http_page: bool = True
    http_api: bool = True
    uvloop: bool | None = None
    """Run on uvloop: where it is installed, unless this is False; True fails where it is not."""
    reload: bool = False
    """Start again whenever a Python file changes."""
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not SENDABLE.fullmatch(token.get_secret_value()):
            raise ValueError(SENDABLE_IS)
        return token

    @field_validator("http_hosts")
    @classmethod
    def _names(cls, hosts: str) -> str:
        for name in filter(None, map(str.strip, hosts.split(","))):
            if not HOST.fullmatch(name):
                raise ValueError(f"{name!r:.60} is no name of a host; expected stream.example,other.example")
        return hosts

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read(folder: Path, config: Path | None = None, **given: Any) -> Settings:
    """The settings; those given as None are left to the environment, to the file, and to the defaults.

    The file is `config`, or else `headrace.toml` in that folder, if there is one.
    Raises `SettingsError` for a file that is not TOML, an unknown key in it, and a value that is not allowed.
    """
    path = config or folder / FILE
    if config is not None and not config.is_file():
        raise SettingsError(f"{config}: there is no such file; name another with --config")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return FromFile(**{name: value for name, value in given.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise SettingsError(_explained(error, path, given)) from error


def _explained(error: ValidationError, path: Path, given: dict[str, Any]) -> str:
    """The first thing that is wrong, where it was written, and what may stand there."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key {name}\n  known are {', '.join(sorted(Settings.model_fields))}"
    variable = PREFIX + name.upper()
    if given.get(name) is not None:
        place = f"--{name.replace('_', '-')}"
    else:
        place = variable if os.environ.get(variable) else f"{path}: {name}"
    shown = "what it is" if name == "token" else repr(first["input"])[:60]
    return f"{place} is {shown}: {first['msg'].removeprefix('Value error, ')}"
