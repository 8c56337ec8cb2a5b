"""What one whole process costs: its start until the first vector, and the most memory that it holds."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _common import PEAK_CODE, Goal, Ratio, Report, Table, megabytes, require_success, run_process, say

COLD_GOAL = 15.0
MEMORY_GOAL = 0.5
_PATIENCE = 10
_WARM_BLOCKS = 8192
"""Most blocks of 512 bytes that a warm start may read: some systems give unused file memory back all the time."""

TEXTKIN_COLD = "import sys, textkin; textkin.load_model(sys.argv[1]).encode('How do refunds work?')"
PEER_COLD = (
    "import sys; from sentence_transformers import SentenceTransformer; "
    "SentenceTransformer(sys.argv[1], device='cpu').encode('How do refunds work?')"
)
_READ = (
    "import json, warnings; warnings.simplefilter('ignore'); texts = json.loads(Path(sys.argv[2]).read_text())\n"
)
TEXTKIN_MEMORY = (
    f"{PEAK_CODE}{_READ}import textkin\ntextkin.load_model(sys.argv[1]).encode(texts)\nprint(peak_bytes())"
)
PEER_MEMORY = f"""{PEAK_CODE}{_READ}from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device='cpu').encode(texts, batch_size=int(sys.argv[3]))
print(peak_bytes())"""


def cold_start(model: str, peer_folder: str | None, rounds: int, report: Report) -> None:
    """Whole processes that load the model and embed one text, one of each in turn, files in memory."""
    commands = {"textkin": [sys.executable, "-c", TEXTKIN_COLD, model]}
    if peer_folder is not None:
        commands["sentence-transformers"] = [sys.executable, "-c", PEER_COLD, peer_folder]
    for command in commands.values():
        for _ in range(2):
            require_success(run_process(command), command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    kept = spoiled = most_read = 0
    while kept < rounds:
        ended = {name: require_success(run_process(command), command) for name, command in commands.items()}
        if any(end.read_blocks > _WARM_BLOCKS for end in ended.values()):
            say("  a process had to read much from the disk; that pair does not count")
            spoiled += 1
            if spoiled > _PATIENCE:
                raise SystemExit("files don't stay in memory on this machine: the start can't be measured warm")
            continue
        for name, end in ended.items():
            times[name].append(end.seconds)
            most_read = max(most_read, end.read_blocks)
        kept += 1
    table = Table(
        f"{model}: one process that loads the model and embeds one text", ("", "seconds (median)", "least", "most")
    )
    for name, seconds in times.items():
        table.rows.append(
            (name, f"{statistics.median(seconds):.3f}", f"{min(seconds):.3f}", f"{max(seconds):.3f}")
        )
    table.rows.append(("read from the disk by one process, most", f"{most_read * 512 / 1e6:.1f} MB", "", ""))
    report.tables.append(table)
    if peer_folder is not None:
        ratio = Ratio.of(times["sentence-transformers"], times["textkin"])
        table.rows.append(("ratio", str(ratio), "", ""))
        report.goals.append(
            Goal(f"{model}, cold start", f">= {COLD_GOAL:.0f}x", f"{ratio.median:.1f}x", ratio.median >= COLD_GOAL)
        )


def memory(model: str, peer_folder: str | None, texts: list[str], batches: Sequence[int], report: Report) -> None:
    """The most memory that a process holds which loads the model and embeds the texts."""
    table = Table(f"{model}: most memory of a process that embeds {len(texts):,} mixed texts", ("", "peak"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(texts), encoding="utf-8")
        command = [sys.executable, "-c", TEXTKIN_MEMORY, model, str(file)]
        ours = int(require_success(run_process(command), command).output)
        table.rows.append(("textkin", megabytes(ours)))
        peaks = []
        for batch in batches if peer_folder is not None else ():
            command = [sys.executable, "-c", PEER_MEMORY, str(peer_folder), str(file), str(batch)]
            peaks.append(int(require_success(run_process(command), command).output))
            table.rows.append((f"sentence-transformers, batch {batch}", megabytes(peaks[-1])))
    report.tables.append(table)
    if peaks:
        ratio = ours / min(peaks)
        report.goals.append(
            Goal(
                f"{model}, peak memory",
                f"<= {MEMORY_GOAL}",
                f"{ratio:.2f} of the peer's least",
                ratio <= MEMORY_GOAL,
            )
        )
