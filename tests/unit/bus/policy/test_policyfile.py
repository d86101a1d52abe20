"""The policy file is read whole or not at all; what is wrong is told at once, where it is."""

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.policy.policyfile import Policy, PolicyFileError, parse_policy, read_policyfile
from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.bus.settings import ServiceSettings, SettingsError, load_settings
from runcast.wire import limits
from runcast.wire import limits_policy as policy_limits

EXAMPLE = Path(__file__).parents[4] / "deploy" / "policy.example.toml"


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(text)
    return str(caught.value).splitlines()


def test_the_example_says_what_is_built_in():
    policy = read_policyfile(EXAMPLE).policy
    assert policy.default == BUILT_IN["standard"]
    assert policy.of("acme") == BUILT_IN["enterprise"]
    assert policy.of("trial.example.com") == BUILT_IN["free"]
    text = EXAMPLE.read_text()
    for key in msgspec.structs.fields(Tier):
        assert key.name == "name" or text.count(f"\n{key.name} = ") == 3, f"{key.name} is in each tier of the example"


def test_an_empty_file_is_the_standard_tier_for_all():
    assert parse_policy("") == Policy(BUILT_IN["standard"], {})


def test_what_is_not_said_is_as_built_in():
    policy = parse_policy(
        """
        default = "free"
        [tenants]
        acme = "enterprise"
        globex = "own"
        lab = "unlimited"
        [tiers.free]
        open_runs = 7
        [tiers.own]
        events_per_s = inf
        """
    )
    assert policy.of("anybody") == msgspec.structs.replace(BUILT_IN["free"], open_runs=7)
    assert policy.of("acme") == BUILT_IN["enterprise"]
    assert policy.of("globex") == msgspec.structs.replace(BUILT_IN["standard"], name="own", events_per_s=math.inf)
    assert policy.of("lab") == BUILT_IN["unlimited"]
    assert policy.of("ACME") == policy.of("anybody"), "ids are exact"


def test_all_problems_are_told_together():
    text = "\n".join(
        problems(
            """
            default = "gold"
            defualt = "free"
            [tenants]
            acme = "platinum"
            globex = 3
            "" = "free"
            [tiers.free]
            event_per_s = 10
            open_runs = 0
            retention_s = 1e9
            name = "gold"
            [tiers.silver]
            bytes_per_s = 1
            event_bytes_max = 999_999_999
            sends_per_s = nan
            """
        )
    )
    for part in (
        "default: 'gold' is no tier; there are free, standard, enterprise, unlimited",
        "[defualt] is no section",
        "[tenants]: 'acme': 'platinum' is no tier",
        "[tenants]: 'globex': 3 is no tier",
        "[tenants]: tenant id",
        "did you mean events_per_s",
        "[tiers.free]: open_runs: Expected `int` >= 1",
        "[tiers.free]: retention_s: Expected `float` <= 86400",
        "[tiers.free]: 'name' is no setting",
        "[tiers.silver]: bytes_per_s: Expected `float` >= 1024",
        "[tiers.silver]: event_bytes_max: Expected `int` <= 262144",
        "[tiers.silver]: sends_per_s: Expected `float` > 0",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[tiers]]\nopen_runs = 1", "[tiers]: expected tables"),
        ("tiers = 3", "[tiers]: expected tables"),
        ("tenants = [1]", "[tenants]: expected a table"),
        ("[tiers]\nfree = 3", "[tiers.free]: expected a table"),
        ('default = ["free"]', "default: ['free'] is no tier"),
        ("default = 0x" + "f" * 5_000, "default: that number is no tier"),
        ("default =", "it is no TOML"),
        ("x = " + "9" * 5_000, "it is no TOML"),
        ("x = " + "[" * 5_000, "it is no TOML"),
        ("#" + "x" * policy_limits.POLICY_FILE_BYTES_MAX, "larger than"),
        ("\n".join(f"[tiers.t{number}]" for number in range(policy_limits.TIERS_MAX + 1)), "use 64 or fewer"),
        ("[tenants]\n" + "\n".join(f't{number} = "free"' for number in range(policy_limits.TENANTS_MAX + 1)), "use 10000 or fewer"),
    ],
)
def test_a_problem_says_what_it_is(text, told):
    (line,) = problems(text)
    assert told in line


@given(st.text(max_size=200) | st.from_regex(r"(\[(tenants|tiers\.[a-z]+)\]\n([a-z_]+ = [-0-9a-z\"\[\]{}.]+\n){0,4}){1,3}", fullmatch=True))
def test_any_text_is_a_policy_or_a_list_of_problems(text):
    try:
        policy = parse_policy(text)
    except PolicyFileError:
        return
    assert isinstance(policy.of("anybody"), Tier)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_bytes(b"default = '\xff'")
    with pytest.raises(PolicyFileError, match="no UTF-8"):
        read_policyfile(path)
    with pytest.raises(PolicyFileError, match="can't be read"):
        read_policyfile(tmp_path)


def test_tiers_make_only_narrower_what_is_bounded_anyway():
    for tier in BUILT_IN.values():
        assert tier.event_bytes_max <= limits.EVENT_BYTES_MAX
        assert tier.send_bytes_max <= limits.TEXT_BYTES_MAX
        assert tier.retention_s <= limits.RETENTION_S
    free, standard, enterprise, unlimited = BUILT_IN.values()
    for field in msgspec.structs.fields(Tier):
        if field.name not in ("name", "devices_per_user"):
            values = [getattr(tier, field.name) for tier in (free, standard, enterprise, unlimited)]
            assert values == sorted(values), field.name


def test_a_service_does_not_start_with_a_policy_that_can_not_be_used(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('default = "gold"\n[tiers.free]\nopen_runs = 0\n')
    environ = {"RUNCAST_AUTH": "dev", "RUNCAST_POLICY_FILE": str(path)}
    with pytest.raises(SettingsError) as caught:
        load_settings(ServiceSettings, "router", environ)
    assert str(caught.value).count("RUNCAST_POLICY_FILE: ") == 2
    path.write_text('default = "free"\n')
    assert load_settings(ServiceSettings, "router", environ).policy_file == str(path)
