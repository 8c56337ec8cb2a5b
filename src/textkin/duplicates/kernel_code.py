"""LLVM assembly of the join's inner loops, for one kind of processor."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

GROUP = 16
"""Right rows that lie interleaved, component by component, so that one load serves several of them."""
COLUMNS = 64
"""Right rows are padded to a multiple of this; every kernel's block divides it."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """How one kind of processor multiplies.

    A *word* is 32 bits that hold 4 components of 8 bits or 2 of 16. One multiplication takes a word of each of
    ``lanes`` right rows and one word of a left row.

    Attributes:
        name: of the instruction.
        bits: of a component. With 8 the right side is stored as component + 128, without sign.
        lanes: 32-bit numbers of a vector register.
        rows: left rows of a block; ``rows * vectors`` sums stay in registers.
        vectors: registers that one word of the block's right rows takes.
        needs: features of the processor, as LLVM calls them; all of one of these sets.
    """

    name: Literal["vpdpbusd", "pmaddwd"]
    bits: Literal[8, 16]
    lanes: int
    rows: int
    vectors: int
    needs: tuple[tuple[str, ...], ...]

    @property
    def packed(self) -> int:
        """Components of a word."""
        return 32 // self.bits


KERNELS = (
    Kernel("vpdpbusd", 8, 16, 6, 4, (("avx512f", "avx512bw", "avx512vl", "avx512vnni"),)),
    Kernel("vpdpbusd", 8, 8, 6, 2, (("avxvnni",), ("avx512vl", "avx512vnni"))),
    Kernel("pmaddwd", 16, 16, 6, 4, (("avx512f", "avx512bw", "avx512vl"),)),
    Kernel("pmaddwd", 16, 8, 6, 2, (("avx2",),)),
)
"""Best first. A processor with none of these joins with NumPy."""


def assembly(kernel: Kernel) -> str:
    """A module of three functions, whose C declarations would be ::

        int64_t find(const char *left, const int32_t *border, const int32_t *chosen, int64_t count,
                     const char *right, const int32_t *start, int64_t blocks, int64_t words, int64_t first,
                     int32_t *out_i, int32_t *out_j, int64_t room, int32_t *sums);
        int64_t refine(const int8_t *left, const int32_t *border, const int8_t *right, const int32_t *start,
                       int64_t bytes, int32_t *i, int32_t *j, int64_t count);
        void dots(const float *left, int64_t left_step, const float *right, int64_t right_step, int64_t wide,
                  int64_t rest, const int64_t *i, const int64_t *j, int64_t count, double *out);

    For ``count`` left rows, named by ``chosen`` (a multiple of ``rows``), and ``blocks`` blocks of right rows
    ``find`` writes those i and j (the latter plus ``first``) where ``start[j] + product(i, j) >= border[i]``.
    Returns how many there are, or -1 as soon as ``room`` might not do. ``sums`` has room for one block of sums.
    All sums wrap at 32 bits: the caller sees to it that no ``start + product - border`` does.

    ``refine`` makes the same test for each of ``count`` pairs, with rows of ``bytes`` components of 8 bits (a
    multiple of `GROUP`; both sides with sign), and moves those that pass to the front. Returns how many do.

    ``dots`` are products in float64 of rows of ``8 * wide + rest`` float32; steps are in numbers.
    """
    return "\n".join([*_declarations(kernel), *_find(kernel), _REFINE, _DOTS]) + "\n"


def _declarations(kernel: Kernel) -> Iterator[str]:
    wide = kernel.lanes * 32
    yield f"declare i{kernel.lanes} @llvm.cttz.i{kernel.lanes}(i{kernel.lanes}, i1)"
    number = f"<{kernel.lanes} x i32>"
    if kernel.name == "vpdpbusd":
        yield f"declare {number} @llvm.x86.avx512.vpdpbusd.{wide}({number}, {number}, {number})"
    else:
        halves = f"<{2 * kernel.lanes} x i16>"
        yield f"declare {number} @{_pmaddwd(kernel)}({halves}, {halves})"


def _pmaddwd(kernel: Kernel) -> str:
    return "llvm.x86.avx512.pmaddw.d.512" if kernel.lanes == 16 else "llvm.x86.avx2.pmadd.wd"


def _multiply_add(kernel: Kernel, out: str, total: str, right: str, left: str) -> Iterator[str]:
    """``out = total + right * left``, lane by lane, a word each."""
    number = f"<{kernel.lanes} x i32>"
    halves = f"<{2 * kernel.lanes} x i16>"
    if kernel.name == "vpdpbusd":
        call = f"@llvm.x86.avx512.vpdpbusd.{kernel.lanes * 32}"
        yield f"{out} = call {number} {call}({number} {total}, {number} {right}, {number} {left})"
    else:
        yield f"{out}.r = bitcast {number} {right} to {halves}"
        yield f"{out}.l = bitcast {number} {left} to {halves}"
        yield f"{out}.p = call {number} @{_pmaddwd(kernel)}({halves} {out}.r, {halves} {out}.l)"
        yield f"{out} = add {number} {total}, {out}.p"


def _spread(kernel: Kernel, out: str, value: str) -> Iterator[str]:
    """``out``: a vector whose every lane is ``value``."""
    number = f"<{kernel.lanes} x i32>"
    yield f"{out}.1 = insertelement {number} poison, i32 {value}, i32 0"
    yield f"{out} = shufflevector {number} {out}.1, {number} poison, <{kernel.lanes} x i32> zeroinitializer"


def _find(kernel: Kernel) -> Iterator[str]:
    lanes, rows, vectors = kernel.lanes, kernel.rows, kernel.vectors
    number = f"<{lanes} x i32>"
    width = lanes * vectors
    sums = [(r, c) for r in range(rows) for c in range(vectors)]
    yield (
        "define i64 @find(ptr %left, ptr %border, ptr %chosen, i64 %count, ptr %right, ptr %start, i64 %blocks, "
        "i64 %words, i64 %first, ptr %out_i, ptr %out_j, i64 %room, ptr %sums) {"
    )
    yield from (
        "entry:",
        "%row_bytes = mul i64 %words, 4",
        f"%group_bytes = mul i64 %words, {4 * GROUP}",
        f"%block_bytes = mul i64 %words, {4 * width}",
        "%any = mul i64 %count, %blocks",
        "%nothing = icmp eq i64 %any, 0",
        "br i1 %nothing, label %nought, label %across",
        "nought:",
        "ret i64 0",
        # One block of right rows, which stays in the first-level cache ...
        "across:",
        "%block = phi i64 [0, %entry], [%block.next, %across.next]",
        "%n.across = phi i64 [0, %entry], [%n.down, %across.next]",
    )
    if width >= GROUP:
        yield f"%offset = mul i64 %block, {width // GROUP}"
        yield "%offset.bytes = mul i64 %offset, %group_bytes"
    yield "%right.block = getelementptr i8, ptr %right, i64 %offset.bytes"
    yield f"%column = mul i64 %block, {width}"
    for c in range(vectors):
        yield f"%at.{c} = add i64 %column, {c * lanes}"
        yield f"%start.{c}.p = getelementptr i32, ptr %start, i64 %at.{c}"
        yield f"%start.{c} = load {number}, ptr %start.{c}.p, align 4"
        yield f"%group.{c} = mul i64 %group_bytes, {c * lanes // GROUP}"
        yield f"%vector.{c} = add i64 %group.{c}, {c * lanes % GROUP * 4}"
        yield f"%right.{c} = getelementptr i8, ptr %right.block, i64 %vector.{c}"
    # ... against block after block of left rows.
    yield from (
        "br label %down",
        "down:",
        "%i = phi i64 [0, %across], [%i.next, %down.next]",
        "%n = phi i64 [%n.across, %across], [%n.down, %down.next]",
    )
    for r in range(rows):
        yield f"%i.{r} = add i64 %i, {r}"
        yield f"%chosen.{r}.p = getelementptr i32, ptr %chosen, i64 %i.{r}"
        yield f"%chosen.{r} = load i32, ptr %chosen.{r}.p, align 4"
        yield f"%row.{r} = zext i32 %chosen.{r} to i64"
        yield f"%border.{r}.p = getelementptr i32, ptr %border, i64 %row.{r}"
        yield f"%border.{r} = load i32, ptr %border.{r}.p, align 4"
        yield f"%bytes.{r} = mul i64 %row.{r}, %row_bytes"
        yield f"%left.{r} = getelementptr i8, ptr %left, i64 %bytes.{r}"
        yield from _spread(kernel, f"%border.{r}.all", f"%border.{r}")
    for r, c in sums:
        yield f"%first.{r}.{c} = sub {number} %start.{c}, %border.{r}.all"
    yield from (
        "br label %along",
        "along:",
        "%word = phi i64 [0, %down], [%word.next, %along]",
    )
    for r, c in sums:
        yield f"%sum.{r}.{c} = phi {number} [%first.{r}.{c}, %down], [%more.{r}.{c}, %along]"
    yield f"%right.word = mul i64 %word, {4 * GROUP}"
    for c in range(vectors):
        yield f"%load.{c}.p = getelementptr i8, ptr %right.{c}, i64 %right.word"
        yield f"%load.{c} = load {number}, ptr %load.{c}.p, align 4"
    for r in range(rows):
        yield f"%one.{r}.p = getelementptr i32, ptr %left.{r}, i64 %word"
        yield f"%one.{r} = load i32, ptr %one.{r}.p, align 4"
        yield from _spread(kernel, f"%one.{r}.all", f"%one.{r}")
        for c in range(vectors):
            yield from _multiply_add(kernel, f"%more.{r}.{c}", f"%sum.{r}.{c}", f"%load.{c}", f"%one.{r}.all")
    yield from (
        "%word.next = add i64 %word, 1",
        "%along.more = icmp ult i64 %word.next, %words",
        "br i1 %along.more, label %along, label %judge",
        "judge:",
    )
    # A pair stays in when its sum is not negative: all signs set means that none does.
    signs = yield from _all_of(number, [f"%more.{r}.{c}" for r, c in sums])
    yield from (
        f"%out.lanes = icmp slt {number} {signs}, zeroinitializer",
        f"%out.bits = bitcast <{lanes} x i1> %out.lanes to i{lanes}",
        f"%none = icmp eq i{lanes} %out.bits, -1",
        "br i1 %none, label %down.next, label %hit",
        "hit:",
        f"%n.most = add i64 %n, {rows * width}",
        "%full = icmp ugt i64 %n.most, %room",
        "br i1 %full, label %stop, label %keep",
        "stop:",
        "ret i64 -1",
        "keep:",
    )
    for r, c in sums:
        yield f"%sums.{r}.{c} = getelementptr i32, ptr %sums, i64 {r * width + c * lanes}"
        yield f"store {number} %more.{r}.{c}, ptr %sums.{r}.{c}, align 4"
    yield from (
        "br label %each",
        # Register by register, and then from one set bit to the next.
        "each:",
        "%x = phi i64 [0, %keep], [%x.next, %each.next]",
        "%n.each = phi i64 [%n, %keep], [%n.each.next, %each.next]",
        f"%x.first = mul i64 %x, {lanes}",
        "%x.sums.p = getelementptr i32, ptr %sums, i64 %x.first",
        f"%x.sums = load {number}, ptr %x.sums.p, align 4",
        f"%x.in = icmp sge {number} %x.sums, zeroinitializer",
        f"%x.bits = bitcast <{lanes} x i1> %x.in to i{lanes}",
        f"%x.none = icmp eq i{lanes} %x.bits, 0",
        "br i1 %x.none, label %each.next, label %found",
        "found:",
        f"%x.row = udiv i64 %x, {vectors}",
        f"%x.vector = urem i64 %x, {vectors}",
        "%x.i.at = add i64 %i, %x.row",
        "%x.i.p = getelementptr i32, ptr %chosen, i64 %x.i.at",
        "%x.i = load i32, ptr %x.i.p, align 4",
        f"%x.column.here = mul i64 %x.vector, {lanes}",
        "%x.column = add i64 %column, %x.column.here",
        "%x.j.first = add i64 %x.column, %first",
        "br label %bit",
        "bit:",
        f"%left.bits = phi i{lanes} [%x.bits, %found], [%fewer.bits, %bit]",
        "%n.bit = phi i64 [%n.each, %found], [%n.bit.next, %bit]",
        f"%lane = call i{lanes} @llvm.cttz.i{lanes}(i{lanes} %left.bits, i1 true)",
        f"%lane.64 = zext i{lanes} %lane to i64",
        "%x.j.64 = add i64 %x.j.first, %lane.64",
        "%x.j = trunc i64 %x.j.64 to i32",
        "%out.i.p = getelementptr i32, ptr %out_i, i64 %n.bit",
        "store i32 %x.i, ptr %out.i.p, align 4",
        "%out.j.p = getelementptr i32, ptr %out_j, i64 %n.bit",
        "store i32 %x.j, ptr %out.j.p, align 4",
        "%n.bit.next = add i64 %n.bit, 1",
        f"%one.less = sub i{lanes} %left.bits, 1",
        f"%fewer.bits = and i{lanes} %left.bits, %one.less",
        f"%no.bits = icmp eq i{lanes} %fewer.bits, 0",
        "br i1 %no.bits, label %each.next, label %bit",
        "each.next:",
        "%n.each.next = phi i64 [%n.each, %each], [%n.bit.next, %bit]",
        "%x.next = add i64 %x, 1",
        f"%each.more = icmp ult i64 %x.next, {rows * vectors}",
        "br i1 %each.more, label %each, label %down.next",
        "down.next:",
        "%n.down = phi i64 [%n, %judge], [%n.each.next, %each.next]",
        f"%i.next = add i64 %i, {rows}",
        "%down.more = icmp ult i64 %i.next, %count",
        "br i1 %down.more, label %down, label %across.next",
        "across.next:",
        "%block.next = add i64 %block, 1",
        "%across.more = icmp ult i64 %block.next, %blocks",
        "br i1 %across.more, label %across, label %done",
        "done:",
        "ret i64 %n.down",
        "}",
    )


def _all_of(number: str, names: Iterable[str]) -> Generator[str, None, str]:
    """Bitwise and of all, pair by pair; returns the name of the result."""
    level = list(names)
    made = 0
    while len(level) > 1:
        above = []
        for a, b in zip(level[::2], level[1::2], strict=False):
            yield f"%all.{made} = and {number} {a}, {b}"
            above.append(f"%all.{made}")
            made += 1
        level = above + level[len(level) // 2 * 2 :]
    return level[0]


_REFINE = f"""
define i64 @refine(ptr %left, ptr %border, ptr %right, ptr %start, i64 %bytes, ptr %i, ptr %j, i64 %count) {{
entry:
%nothing = icmp eq i64 %count, 0
br i1 %nothing, label %nought, label %pair
nought:
ret i64 0
pair:
%x = phi i64 [0, %entry], [%x.next, %judge]
%n = phi i64 [0, %entry], [%n.next, %judge]
%i.p = getelementptr i32, ptr %i, i64 %x
%j.p = getelementptr i32, ptr %j, i64 %x
%i.x = load i32, ptr %i.p, align 4
%j.x = load i32, ptr %j.p, align 4
%i.row = zext i32 %i.x to i64
%j.row = zext i32 %j.x to i64
%i.byte = mul i64 %i.row, %bytes
%j.byte = mul i64 %j.row, %bytes
%left.row = getelementptr i8, ptr %left, i64 %i.byte
%right.row = getelementptr i8, ptr %right, i64 %j.byte
br label %along
along:
%k = phi i64 [0, %pair], [%k.next, %along]
%sum = phi <{GROUP} x i32> [zeroinitializer, %pair], [%sum.next, %along]
%a.p = getelementptr i8, ptr %left.row, i64 %k
%b.p = getelementptr i8, ptr %right.row, i64 %k
%a.8 = load <{GROUP} x i8>, ptr %a.p, align 1
%b.8 = load <{GROUP} x i8>, ptr %b.p, align 1
%a = sext <{GROUP} x i8> %a.8 to <{GROUP} x i32>
%b = sext <{GROUP} x i8> %b.8 to <{GROUP} x i32>
%ab = mul <{GROUP} x i32> %a, %b
%sum.next = add <{GROUP} x i32> %sum, %ab
%k.next = add i64 %k, {GROUP}
%more = icmp ult i64 %k.next, %bytes
br i1 %more, label %along, label %judge
judge:
%product = call i32 @llvm.vector.reduce.add.v{GROUP}i32(<{GROUP} x i32> %sum.next)
%start.p = getelementptr i32, ptr %start, i64 %j.row
%start.j = load i32, ptr %start.p, align 4
%border.p = getelementptr i32, ptr %border, i64 %i.row
%border.i = load i32, ptr %border.p, align 4
%total = add i32 %product, %start.j
%in = icmp sge i32 %total, %border.i
%one = zext i1 %in to i64
%out.i = getelementptr i32, ptr %i, i64 %n
%out.j = getelementptr i32, ptr %j, i64 %n
store i32 %i.x, ptr %out.i, align 4
store i32 %j.x, ptr %out.j, align 4
%n.next = add i64 %n, %one
%x.next = add i64 %x, 1
%pairs = icmp ult i64 %x.next, %count
br i1 %pairs, label %pair, label %done
done:
ret i64 %n.next
}}
declare i32 @llvm.vector.reduce.add.v{GROUP}i32(<{GROUP} x i32>)
"""

_DOTS = """
define void @dots(ptr %left, i64 %left.step, ptr %right, i64 %right.step, i64 %wide, i64 %rest, ptr %i, ptr %j,
                  i64 %count, ptr %out) {
entry:
%first.rest = mul i64 %wide, 8
%all = add i64 %first.rest, %rest
%nothing = icmp eq i64 %count, 0
br i1 %nothing, label %done, label %pair
pair:
%x = phi i64 [0, %entry], [%x.next, %end]
%i.p = getelementptr i64, ptr %i, i64 %x
%j.p = getelementptr i64, ptr %j, i64 %x
%i.x = load i64, ptr %i.p, align 8
%j.x = load i64, ptr %j.p, align 8
%i.at = mul i64 %i.x, %left.step
%j.at = mul i64 %j.x, %right.step
%a.row = getelementptr float, ptr %left, i64 %i.at
%b.row = getelementptr float, ptr %right, i64 %j.at
%any.wide = icmp ne i64 %wide, 0
br i1 %any.wide, label %along, label %gather
along:
%w = phi i64 [0, %pair], [%w.next, %along]
%sum = phi <8 x double> [zeroinitializer, %pair], [%sum.next, %along]
%at = mul i64 %w, 8
%a.p = getelementptr float, ptr %a.row, i64 %at
%b.p = getelementptr float, ptr %b.row, i64 %at
%a.32 = load <8 x float>, ptr %a.p, align 4
%b.32 = load <8 x float>, ptr %b.p, align 4
%a = fpext <8 x float> %a.32 to <8 x double>
%b = fpext <8 x float> %b.32 to <8 x double>
%sum.next = call <8 x double> @llvm.fma.v8f64(<8 x double> %a, <8 x double> %b, <8 x double> %sum)
%w.next = add i64 %w, 1
%w.more = icmp ult i64 %w.next, %wide
br i1 %w.more, label %along, label %gather
gather:
%lanes = phi <8 x double> [zeroinitializer, %pair], [%sum.next, %along]
%total.wide = call reassoc double @llvm.vector.reduce.fadd.v8f64(double 0.0, <8 x double> %lanes)
%any.rest = icmp ne i64 %rest, 0
br i1 %any.rest, label %singly, label %end
singly:
%k = phi i64 [%first.rest, %gather], [%k.next, %singly]
%total.k = phi double [%total.wide, %gather], [%total.next, %singly]
%c.p = getelementptr float, ptr %a.row, i64 %k
%d.p = getelementptr float, ptr %b.row, i64 %k
%c.32 = load float, ptr %c.p, align 4
%d.32 = load float, ptr %d.p, align 4
%c = fpext float %c.32 to double
%d = fpext float %d.32 to double
%cd = fmul double %c, %d
%total.next = fadd double %total.k, %cd
%k.next = add i64 %k, 1
%k.more = icmp ult i64 %k.next, %all
br i1 %k.more, label %singly, label %end
end:
%total = phi double [%total.wide, %gather], [%total.next, %singly]
%out.p = getelementptr double, ptr %out, i64 %x
store double %total, ptr %out.p, align 8
%x.next = add i64 %x, 1
%pairs = icmp ult i64 %x.next, %count
br i1 %pairs, label %pair, label %done
done:
ret void
}
declare <8 x double> @llvm.fma.v8f64(<8 x double>, <8 x double>, <8 x double>)
declare double @llvm.vector.reduce.fadd.v8f64(double, <8 x double>)
"""
