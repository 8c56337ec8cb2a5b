"""For the tests of your own program: a local server that keeps OpenAI's and Cohere's embedding contracts."""

from textkin.testing.billing import Billing
from textkin.testing.faults import FAULTS, Asked
from textkin.testing.server import ProviderServer

__all__ = ["FAULTS", "Asked", "Billing", "ProviderServer"]
