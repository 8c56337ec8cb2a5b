"""Ray, and nothing outside this folder knows it: a cluster, a model on its workers, the exact join as tasks."""

from textkin.jobs.ray.cluster import Cluster, connect
from textkin.jobs.ray.embedder import Embedder
from textkin.jobs.ray.join import near_pairs_on_ray
from textkin.jobs.ray.model import RayModel
from textkin.jobs.ray.worker import Recipe

__all__ = ["Cluster", "Embedder", "RayModel", "Recipe", "connect", "near_pairs_on_ray"]
