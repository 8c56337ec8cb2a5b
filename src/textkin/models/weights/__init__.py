"""Find, fetch and verify the files of local models."""

from textkin.models.weights.bundle import bundle, install
from textkin.models.weights.cache import fetched, models_folder
from textkin.models.weights.fetch import FetchProgress, fetch
from textkin.models.weights.find import hub_cache, locate
from textkin.models.weights.verify import digests, verify

__all__ = [
    "FetchProgress",
    "bundle",
    "digests",
    "fetch",
    "fetched",
    "hub_cache",
    "install",
    "locate",
    "models_folder",
    "verify",
]
