from __future__ import annotations

import uuid

from sedano.protocol.ids import new_id


def test_given_many_ids_when_made_then_they_are_different_version_4_uuids() -> None:
    made = {new_id() for _ in range(1000)}
    assert len(made) == 1000
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
