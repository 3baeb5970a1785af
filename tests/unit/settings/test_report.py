from __future__ import annotations

from sedano.settings import Settings, accepted_without_effect
from sedano.settings.report import report_text


def text_for(conf: Settings) -> str:
    return report_text(
        software={"sedano": "1.0", "py": "3.11"},
        platform={"system": "Linux", "arch": "64bit"},
        loader="app",
        transport="redis://u:**@h/1",
        results="",
        settings=conf.table(),
        ignored=accepted_without_effect(),
        advice=["something looks odd"],
    )


def test_given_settings_when_reported_then_software_platform_settings_and_advice_are_there_without_secrets() -> None:
    conf = Settings({"broker_url": "redis://u:hidden@h/1", "task_acks_late": True}, environ={})

    text = text_for(conf)

    assert text.startswith(
        "software -> sedano:1.0 py:3.11\nplatform -> system:Linux arch:64bit\nloader   -> app\n"
        "settings -> transport:redis://u:**@h/1 results:disabled\n\nbroker_url: 'redis://u:**@h/1'\ntask_acks_late: True\n\n"
    )
    assert "something looks odd" in text
    assert "hidden" not in text


def test_given_the_report_when_read_then_every_setting_without_effect_is_listed_with_its_reason() -> None:
    lines = text_for(Settings(environ={})).splitlines()

    for option in accepted_without_effect():
        assert any(line.split() and line.split()[0] == option.name and line.endswith(option.effect) for line in lines)
    assert f"Accepted without effect: {len(accepted_without_effect())} settings" in lines


def test_given_a_setting_without_effect_when_it_was_given_then_it_is_marked() -> None:
    ignored = accepted_without_effect()[0]

    text = text_for(Settings({ignored.name: ignored.default}, environ={}))

    assert f"* {ignored.name} " in text
    assert "1 of them given here (*)" in text
