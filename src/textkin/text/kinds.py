"""What a file's name says about how to read it."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """How a file is read."""

    TEXT = "text"
    HTML = "html"
    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"
    UNKNOWN = "unknown"


class Packing(Enum):
    """How a file is compressed; the value is what such files are called."""

    GZIP = "gzip"
    ZSTD = "zstd"


TABLES = frozenset({Kind.CSV, Kind.JSONL, Kind.JSON, Kind.PARQUET})
"""Kinds with one record a row."""
_PACKED = {"gz": Packing.GZIP, "zst": Packing.ZSTD}
_TABLES = {
    "csv": Kind.CSV,
    "tsv": Kind.CSV,
    "tab": Kind.CSV,
    "jsonl": Kind.JSONL,
    "ndjson": Kind.JSONL,
    "json": Kind.JSON,
}
_HTML = frozenset({"html", "htm", "xhtml"})
_SUFFIXES = """
txt text md markdown mdown mkd mdx rst adoc asciidoc org textile wiki mediawiki creole tex latex ltx bib
log nfo srt vtt sub po pot eml me 1st license readme changes rtx
xml xsd xsl xslt rss atom opml yaml yml toml ini cfg conf config properties json5 jsonc hcl tf tfvars
py pyi pyx pxd pyw ipy c h cc cpp cxx c++ hh hpp hxx inl cs java kt kts scala sc groovy gradle go rs rb
erb rake gemspec php phtml pl pm pod t lua r rmd qmd jl js mjs cjs jsx ts mts cts tsx vue svelte astro
css scss sass less styl sql psql ddl sh bash zsh fish ksh csh ps1 psm1 bat cmd swift m mm hs lhs ml mli
fs fsx fsi ex exs eex erl hrl clj cljs cljc edn lisp lsp cl el scm ss rkt dart proto thrift graphql gql
cmake mk mak make dockerfile diff patch asm s v sv vh vhd vhdl f for f77 f90 f95 f03 f08 nim zig d pas pp
dpr awk sed tcl vb vbs bas cob cbl ada adb ads pro prolog sol cu cuh glsl hlsl vert frag wgsl nix bzl
bazel star ninja jinja j2 tmpl tpl mustache hbs ejs haml pug
"""
"""Of texts, then of data and settings that people read, then of code."""
_TEXT = frozenset(_SUFFIXES.split())
_NAMED = {
    "a PDF, which is not read yet; turn it into text first, e.g. with pdftotext": "pdf",
    "an office document, which is not read yet; save it as text, CSV or HTML first": (
        "doc docx odt rtf pages xls xlsx xlsm ods numbers ppt pptx odp key epub mobi"
    ),
    "an image": "png jpg jpeg gif bmp tif tiff webp ico heic avif svg psd ai eps raw cr2 nef",
    "sound or video": "mp3 wav flac ogg opus m4a aac mp4 mkv avi mov webm wmv flv mpg mpeg m4v",
    "an archive; unpack it first": "zip gz tgz bz2 tbz xz txz zst 7z rar tar jar war whl deb rpm iso dmg",
    "a notebook, which is not read yet; export it as Markdown or Python first": "ipynb",
    "a program or compiled code": "exe dll so dylib a o obj pyc pyo pyd class wasm bin com msi apk",
    "a database": "db sqlite sqlite3 mdb accdb dbf kin",
    "arrays or weights": "npy npz pkl pickle pt pth onnx safetensors h5 hdf5 joblib ckpt gguf",
    "a font": "ttf otf woff woff2 eot",
    "a table of a kind that is not read; save it as Parquet or CSV": "arrow feather orc avro dta sav rdata rds",
}
_REASONS = {suffix: reason for reason, suffixes in _NAMED.items() for suffix in suffixes.split()}


def suffix_of(name: str) -> str:
    """The last suffix in lower case without its dot; empty for none, and for names like ``.profile``."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return suffix.lower() if dot and stem.strip(".") else ""


def inner_suffix(name: str) -> str:
    """The suffix, or of a compressed file the one before it."""
    suffix = suffix_of(name)
    return suffix_of(name[: -len(suffix) - 1]) if suffix in _PACKED else suffix


def kind_of(name: str) -> tuple[Kind, Packing | None]:
    """How to read a file of this name, and what to decompress first."""
    suffix = suffix_of(name)
    if suffix in _PACKED:
        inner = _TABLES.get(inner_suffix(name))
        return (inner, _PACKED[suffix]) if inner else (Kind.UNKNOWN, None)
    if suffix in _TABLES:
        return _TABLES[suffix], None
    if suffix in ("parquet", "pq"):
        return Kind.PARQUET, None
    if suffix in _HTML:
        return Kind.HTML, None
    return (Kind.TEXT if not suffix or suffix in _TEXT else Kind.UNKNOWN), None


def unreadable_reason(name: str) -> str | None:
    """What a file of this name is known to be instead of text; None when only its content can tell."""
    return _REASONS.get(suffix_of(name))
