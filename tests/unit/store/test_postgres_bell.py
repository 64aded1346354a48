from __future__ import annotations

from interlock.store.postgres_bell import payloads


def test_the_names_of_what_was_written_fit_into_as_few_notifications_as_there_must_be() -> None:
    keys = [f"state/{number:03}/{'x' * 300}" for number in range(60)]
    texts = payloads("me", keys)
    assert all(len(text.encode()) < 8000 for text in texts)
    assert [line for text in texts for line in text.split("\n")[1:]] == keys
    assert all(text.startswith("me\n") for text in texts)
    assert payloads("me", keys[:2]) == ["me\n" + "\n".join(keys[:2])]


def test_a_storm_is_told_in_one_word() -> None:
    assert payloads("me", [f"state/{number}" for number in range(1000)]) == ["me\n*"]
