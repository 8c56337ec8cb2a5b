"""``textkin duplicates OUT/``: near-duplicates among the vectors that an embedding job wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.duplicate_sources import Found, Wish
from textkin.cli.output import counted, talk
from textkin.duplicates.approximate import approximate_join
from textkin.duplicates.find import find_duplicates
from textkin.duplicates.keep import field_values
from textkin.duplicates.work import Joined, Work, exact_join
from textkin.errors import InputError
from textkin.jobs.bulk.output import VectorOutput
from textkin.jobs.bulk.picking import write_rows
from textkin.models.resolve import reader_of
from textkin.models.spending import Spend
from textkin.text.digest import text_digest
from textkin.types import Record
from textkin.vectors.outputs import holds_output
from textkin.vectors.quantize import score_error

if TYPE_CHECKING:
    import numpy.typing as npt

    from textkin.duplicates.work import Join
    from textkin.types import Matrix, Progress


@dataclass(frozen=True, slots=True)
class RayPlace:
    """Where to join on Ray.

    Attributes:
        address: of the cluster; None: one of our own.
        cores: of a cluster of our own; None: all.
    """

    address: str | None
    cores: int | None


def find_in_output(paths: Sequence[str], wish: Wish, ray: RayPlace | None = None) -> tuple[Found, VectorOutput]:
    """Find the near-duplicates of an output; embeds nothing, and loads no model.

    The vectors stay on the disk, mapped; ids, texts and kept columns are held in memory.

    Raises:
        InputError: not one output alone, binary vectors, or a rule that needs texts where there are none.
        StoreError: as `VectorOutput`.
    """
    if len(paths) > 1:
        place = next(path for path in paths if holds_output(path))
        raise InputError(f"{place} is the output of an embedding job; give it alone, or files, or a collection")
    output = VectorOutput(paths[0])
    _refuse_unfit(output, wish)
    records = _records(output)
    # Without texts a digest of each id stands for its text: no two are the same by it, and the order of the rows
    # makes no difference. (Ids that differ by white space only would be one text.)
    texts = [record.text if output.manifest.text else text_digest(record.id).hex() for record in records]
    with output.matrix() as vectors:
        threshold = _threshold(output, wish, records, vectors)
        keep, values, rule = field_values(records, wish.keep, wish.date_field)
        with bar("comparing") as progress:
            report = find_duplicates(
                [record.id for record in records],
                texts,
                vectors,
                threshold,
                keep=keep,
                dates=values,
                metadata=[record.metadata for record in records],
                rule=rule,
                veto=wish.veto,
                groups=wish.groups,
                progress=progress,
                join=_join(wish, ray),
                reader=reader_of(output.model) if output.manifest.text else None,
            )
    rows: dict[str, dict[str, Any]] = {}
    if not output.manifest.text:
        rows = {record.id: {"id": record.id, **record.metadata} for record in records}
    return Found(report, records, rows, Spend().spent()), output


def write_kept(output: VectorOutput, path: str, kept: Sequence[str]) -> None:
    """Write the rows that stay as one Parquet file, with all their columns and vectors."""
    count = write_rows(output, path, kept)
    talk(f"{path}: {counted(count, 'record')} kept")


def _refuse_unfit(output: VectorOutput, wish: Wish) -> None:
    if output.dtype == "binary":
        raise InputError(
            f"{output.path} holds binary vectors, from which no cosine can be told; run the textkin embed command "
            "again with --dtype int8 or float32, to another folder: the vectors come from the ledger"
        )
    if wish.where is not None:
        raise click.UsageError("--where is for collections")
    if not output.manifest.text:
        needs = [
            option
            for option, given in {
                "--veto": bool(wish.veto),
                "--keep longest": wish.keep == "longest",
                "--threshold auto": wish.threshold == "auto",
            }.items()
            if given
        ]
        if needs:
            raise InputError(
                f"{needs[0]} looks at the texts, and {output.path} holds none; leave it out, or run the textkin "
                "embed command again without --no-text, to another folder"
            )
        talk(
            f"{output.path} holds no texts, so it can't be checked whether records with one vector differ in "
            "something that the model can't read (an emoji, another script)"
        )
    if output.manifest.duplicate_ids:
        raise InputError(
            f"{output.path} has {output.manifest.duplicate_ids:,} rows with an id that another row has, so a "
            "report could not say which of them goes; name a column of ids that differ (--id-column) and run the "
            "textkin embed command again, to another folder"
        )
    if output.dtype != "float32":
        talk(
            f"{output.path} holds {output.dtype} vectors: a score may differ from that of the model's vectors by "
            f"{2 * score_error(output.dtype, output.dimensions):.2g} at the very worst"
        )
    if output.dimensions != output.model.dimensions:
        talk(
            f"{output.path} holds {output.dimensions} of {output.model.dimensions} dimensions: scores are those "
            "of the cut vectors"
        )


def _records(output: VectorOutput) -> list[Record]:
    records = []
    for batch in output.batches(vectors=False):
        texts = batch.texts or [""] * len(batch.ids)
        records += [
            Record(name, text, metadata)
            for name, text, metadata in zip(batch.ids, texts, batch.metadata, strict=True)
        ]
    return records


def _threshold(output: VectorOutput, wish: Wish, records: list[Record], vectors: Matrix) -> float:
    if wish.threshold != "auto":
        return float(wish.threshold)
    from textkin.cli.calibrate import tell_auto
    from textkin.jobs.deduplicating import calibrate_records

    with bar("calibrating") as progress:
        found = calibrate_records(
            records,
            vectors,
            None,
            model=output.model.name,
            fingerprint=output.model.fingerprint,
            copies=0,
            progress=progress,
        )
    tell_auto(found)
    return found.threshold


def _join(wish: Wish, ray: RayPlace | None) -> Join:
    exact = exact_join if ray is None else _ray_join(ray)
    above = wish.approximate_above
    return exact if above is None else approximate_join(above, exact)


def _ray_join(place: RayPlace) -> Join:
    """All with all, on a cluster that is connected, or started and shut down, for each join."""

    def join(rows: npt.NDArray[Any], threshold: float, max_pairs: int, progress: Progress | None) -> Joined:
        from textkin.jobs.ray import connect, near_pairs_on_ray

        with connect(place.address, cores=place.cores) as cluster:
            pairs = near_pairs_on_ray(cluster, rows, threshold, max_pairs=max_pairs, progress=progress)
        work = Work("exact", len(rows), len(rows), pairs.stats.pairs, (pairs.stats,))
        return Joined(pairs.i, pairs.j, pairs.score, work)

    return join
