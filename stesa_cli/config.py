"""Strict settings: TOML files become frozen pydantic models; unknown keys and bad values are all named at once."""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from stesa_cli.errors import ConfigError

SHIPPED = Path(__file__).parent / "configs"


class Config(BaseModel):
    """Base of every settings class: immutable, and without room for misspelt keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: dict[str, Any], where: str | Path = "") -> Self:
        """Validate a nested dict. Raises ConfigError with every problem in one line."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(cls._problem(each["loc"], each["type"], each["msg"]) for each in error.errors())
            raise ConfigError(problems, where, "correct the keys named") from error

    @classmethod
    def _problem(cls, place: tuple[int | str, ...], kind: str, message: str) -> str:
        name = ".".join(map(str, place)) or "config"
        if kind != "extra_forbidden":
            return f"{name}: {message}"
        known = cls._keys(place[:-1])
        near = get_close_matches(str(place[-1]), known, 1)
        return f"unknown key {name}: " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")

    @classmethod
    def _keys(cls, place: tuple[int | str, ...]) -> list[str]:
        """The keys of the settings at a place in these."""
        for i, step in enumerate(place):
            if field := cls.model_fields.get(str(step)):
                kinds = [field.annotation, *get_args(field.annotation)]
                inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Config)), Config)
                rest = place[i + 1 :]
                return inner._keys(tuple(step for step in rest if not isinstance(step, int)))
        return list(cls.model_fields)

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """From a TOML file, or the name of a shipped one such as ``stesa`` or ``paper/gru_1gate``.

        A file may start with ``base = "NAME"``: it then says only what differs, table by table, from the config of that
        name (or the file of that name beside it). Raises ConfigError."""
        path = find_config(name)
        return cls.parse(_read(path), path)


def find_config(name: str | Path) -> Path:
    """A path as it is, or that of a shipped config. Raises ConfigError with the known names."""
    for path in (Path(name), SHIPPED / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(str(p.relative_to(SHIPPED).with_suffix("")) for p in SHIPPED.rglob("*.toml")))
    raise ConfigError("no such config", name, f"give a TOML file or one of: {known}")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read as TOML ({error})", path, "correct the file") from error
    base = values.pop("base", None)
    if base is None:
        return values
    beside = path.parent / f"{base}.toml"
    return _merged(_read(beside if beside.is_file() else find_config(base)), values)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    def pick(old: Any, new: Any) -> Any:
        return _merged(old, new) if isinstance(old, dict) and isinstance(new, dict) else new

    return under | {key: pick(under.get(key), value) for key, value in over.items()}
