"""Find, fetch and verify the files of local models."""

from textkin.models.weights.bundling import bundle, install
from textkin.models.weights.cache import fetched, models_folder
from textkin.models.weights.fetching import FetchProgress, fetch
from textkin.models.weights.find import entry_of, hub_cache, locate
from textkin.models.weights.identity import ModelFiles
from textkin.models.weights.verifying import digests, is_copy_of, is_recorded, verify

__all__ = [
    "FetchProgress",
    "ModelFiles",
    "bundle",
    "digests",
    "entry_of",
    "fetch",
    "fetched",
    "hub_cache",
    "install",
    "is_copy_of",
    "is_recorded",
    "locate",
    "models_folder",
    "verify",
]
