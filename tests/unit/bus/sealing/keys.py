"""Keys files for tests."""

import base64
import hashlib
from pathlib import Path


def secret(name: str) -> str:
    """32 bytes, base64; the same for the same name."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def tenant(name: str, current: str, *key_ids: str, more: str = "") -> str:
    """A table of the keys file; each key is made of its tenant's name and its id."""
    keys = "\n".join(f'{key_id} = "{secret(f"{name}/{key_id}")}"' for key_id in (key_ids or (current,)))
    return f'[tenants."{name}"]\ncurrent = "{current}"\n{more}\n[tenants."{name}".keys]\n{keys}\n'


def write(path: Path, *parts: str) -> Path:
    """A keys file, put in place in one step, as an operator does."""
    file, new = path / "keys.toml", path / "keys.new"
    new.write_text("\n".join(parts))
    new.replace(file)
    return file
