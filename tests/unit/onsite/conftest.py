from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.testing.aws import LocalAws, local_aws


@pytest.fixture(scope="package")
def aws() -> Iterator[LocalAws]:
    with local_aws() as aws:
        yield aws
