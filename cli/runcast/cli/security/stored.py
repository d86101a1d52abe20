"""What a keys file leaves in plain text at rest. Pure: the file was read."""

from runcast.bus.sealing.keyring import EVERYBODY, Keyring
from runcast.cli.security.findings import Finding


def review(keyring: Keyring, where: str) -> list[Finding]:
    """Look at a keys file.

    Args:
        keyring: as it was read.
        where: its path, for the findings.
    """
    found = []
    tenants = list(keyring.currents())
    if EVERYBODY not in tenants and keyring.unlisted == "plain":
        said = f"tenants other than {len(tenants)} listed are stored in plain text"
        advice = 'give [tenants."*"] keys, or set unlisted = "refuse"'
        found.append(Finding("keys_unlisted", "low", "keys at rest", where, said, advice))
    believing = sorted(tenant for tenant in tenants if (keys := keyring.keys_of(tenant)) is not None and keys.plain)
    if believing:
        said = f"what is found in plain text of {len(believing)} tenants is believed, too: whoever writes to NATS can put it there"
        advice = "set plain = false for each when the retention has passed since it got its keys"
        found.append(Finding("keys_plain", "low", "keys at rest", where, said, advice))
    return found or [Finding("keys_plain", "ok", "keys at rest", where, "every tenant's messages are sealed, and nothing else is believed")]
