"""Real services that several suites share; only a test that uses one starts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.testing.consul_server import consul_agent
from interlock.testing.kubernetes_server import Cluster, kubernetes_api


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real agent."""
    with consul_agent(tmp_path_factory.mktemp("consul")) as url:
        yield url


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API."""
    with kubernetes_api(tmp_path_factory.mktemp("kubernetes")) as cluster:
        yield cluster
