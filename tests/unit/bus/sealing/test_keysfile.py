"""The keys file: read whole or not at all; each problem says what to set, and none repeats a key."""

from pathlib import Path

import pytest

from runcast.bus.sealing.keysfile import KeysFileError, read_keysfile
from runcast.bus.settings import ServiceSettings, SettingsError, load_settings
from runcast.wire.ids import UserKey
from tests.unit.bus.sealing.keys import secret, tenant, write

GOOD = secret("good")


def problems_of(path: Path, text: str) -> list[str]:
    with pytest.raises(KeysFileError) as caught:
        read_keysfile(write(path, text))
    assert GOOD not in str(caught.value)
    return str(caught.value).splitlines()


def test_a_file_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "acme-2.key").write_text(f"{secret('two')}\n")
    file = read_keysfile(
        write(
            tmp_path,
            'unlisted = "refuse"',
            f'[tenants.acme]\ncurrent = "k2"\nplain = false\nkeys = {{ k1 = "{GOOD}", k2 = {{ file = "acme-2.key" }} }}',
            tenant("*", "all"),
        )
    )
    keyring = file.keyring
    assert keyring.currents() == {"acme": "k2", "*": "all"}
    assert keyring.unlisted == "refuse"
    assert [keyring.knows("acme", key_id) for key_id in ("k1", "k2", "all", "k3")] == [True, True, True, False]
    assert [keyring.knows("globex", key_id) for key_id in ("k1", "all")] == [False, True]
    assert keyring.sealing_key(UserKey("globex", "u"), 1) is not None
    assert GOOD not in repr(keyring.keys_of("acme"))
    assert not file.changed
    (tmp_path / "acme-2.key").write_text(f"{secret('three')}\n\n")
    assert file.changed, "what it names counts too"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no tenant"),
        ("tenants = 1", "expected tables"),
        ("[tenants]\nacme = 1", "expected a table with current, plain, keys"),
        (f"x = 1\n{tenant('acme', 'k1')}", "'x' is no setting"),
        (f'unlisted = "no"\n{tenant("acme", "k1")}', "use one of plain, refuse"),
        (tenant("acme", "k2", "k1"), "current: expected the id of one of its keys: k1"),
        ('[tenants.acme]\ncurrent = "k1"', "keys: expected a table of 1 to 32 keys"),
        (tenant("acme", "k0", *(f"k{n}" for n in range(33))), "keys: expected a table of 1 to 32 keys"),
        (tenant("acme", "k1", more='curent = "k1"'), "'curent' is no setting"),
        (tenant("acme", "k1", more='plain = "no"'), "plain: use true or false"),
        (f'[tenants.acme]\ncurrent = "k 1"\nkeys = {{ "k 1" = "{GOOD}" }}', "for an id"),
        (f'[tenants.acme]\ncurrent = "k"\nkeys = {{ k = "{GOOD[:-4]}" }}', "it has 30 bytes"),
        (f'[tenants.acme]\ncurrent = "k"\nkeys = {{ k = "{GOOD}AAAA" }}', "no base64"),
        ('[tenants.acme]\ncurrent = "k"\nkeys = { k = "not base64!" }', "no base64"),
        (f'[tenants.acme]\ncurrent = "k"\nkeys = {{ k = "{"A" * 43}=" }}', "not random"),
        ('[tenants.acme]\ncurrent = "k"\nkeys = { k = 7 }', "expected base64 of 32 random bytes"),
        ('[tenants.acme]\ncurrent = "k"\nkeys = { k = { file = "nowhere" } }', "can't be read: No such file"),
        (f'[tenants."{"t" * 129}"]\ncurrent = "k"\nkeys = {{ k = "{GOOD}" }}', "128 bytes"),
        (f'{tenant("*", "k1")}\n[tenants.acme]\ncurrent = "k1"\nkeys = {{ k1 = "{GOOD}" }}', "use another id"),
        (f'[tenants.acme]\nkeys = {{ k = "{GOOD}', "no TOML"),
        (f"x = {'9' * 5000}", "no TOML"),
        (f'[tenants.acme]\ncurrent = ["k"]\nkeys = {{ k = "{GOOD}" }}', "current: expected the id of one of its keys: k"),
        ('[tenants.acme]\ncurrent = "k"\nkeys = { k = { file = "a\\u0000b" } }', "can't be read: no file has a name"),
    ],
)
def test_a_problem_says_what_to_set(tmp_path: Path, text: str, says: str) -> None:
    found = problems_of(tmp_path, text)
    assert len(found) == 1
    assert says in found[0]
    assert found[0].startswith(str(tmp_path / "keys.toml"))


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    text = f'unlisted = 1\n{tenant("acme", "k2", "k1")}[tenants.globex]\ncurrent = "k"\nkeys = {{ k = "short" }}'
    assert len(problems_of(tmp_path, text)) == 3


def test_a_service_does_not_start_with_a_file_that_can_not_be_used(tmp_path: Path) -> None:
    environ = {"RUNCAST_AUTH": "dev", "RUNCAST_KEYS_FILE": str(tmp_path / "keys.toml")}
    with pytest.raises(SettingsError, match="the keys file can't be read"):
        load_settings(ServiceSettings, "test", environ)
    write(tmp_path, tenant("acme", "k1"))
    assert load_settings(ServiceSettings, "test", environ).keys_file == environ["RUNCAST_KEYS_FILE"]
