"""The README of a proof bundle, in Chinese and English: what it proves, and other people's commands that show it.

Lines that begin with ``  $ `` are commands for a POSIX shell in the unzipped folder; the tests run each of them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import NamedTuple

from anchor.receipt import ReceiptStatement


class ReadmeFacts(NamedTuple):
    """What the README names. ``signed`` are the names of signed texts, ``steps`` the siblings with their sides."""

    statement: ReceiptStatement
    signed: tuple[str, ...]
    steps: tuple[tuple[bytes, bool], ...]
    leaf_hash: bytes
    listing: bytes
    stamped: bool
    certificates: bool


class _Step(NamedTuple):
    chinese: str
    english: str
    commands: tuple[str, ...]


def readme(facts: ReadmeFacts) -> str:
    """The text, ending in a newline."""
    lines = [*_head(facts.statement), ""]
    for number, step in enumerate(_steps(facts), start=1):
        lines += [f"{number}. {step.chinese}", f"   {step.english}", *(f"  $ {line}" for line in step.commands), ""]
    return "\n".join([*lines, *_tail()]) + "\n"


def _when(time_s: int) -> str:
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _head(statement: ReceiptStatement) -> Iterator[str]:
    when = _when(statement.time_s)
    yield "存证证明包 / Proof bundle"
    yield ""
    yield f"对象 object      {statement.object}"
    yield f"机构 owner       {statement.organisation}"
    yield f"联盟 pool        {statement.pool_name} ({statement.pool})"
    yield f"日志 log         {statement.origin}"
    yield f"条目 entry       {statement.index} / {statement.tree_size}"
    yield f"见证 witnesses   {', '.join(statement.cosigners) or '-'}"
    yield f"时间 time        {when}"
    yield ""
    yield "本包证明：上述时间之前，该机构已将该对象的清单（含每个文件的摘要）记入其日志，并由上列见证机构联署；"
    yield "此后任何改动都会被发现。本包不证明：记入之前的内容是否真实，以及内容的含义。"
    yield "技术性质：由多家机构联署的公开可验证日志（联盟账本），不是“区块链”。"
    yield "It proves: before that time the owner had put the object's manifest, with a digest of each file, into its"
    yield "log, and the witnesses named above cosigned it; any later change shows. It does not prove that the content"
    yield "was true before, nor what it means. It is a ledger cosigned by several institutions, no blockchain."
    yield ""
    yield "信任的起点：请将 openssl/*.pem 与各机构公布的公钥核对，并将联盟编号与其公布的编号核对。"
    yield "Where trust begins: compare openssl/*.pem with the keys that the institutions publish, and the pool's id"
    yield "with the one that they publish. This README itself is signed by nobody."
    yield ""
    yield "以下命令在解压后的文件夹中执行，无需网络。Commands for the unzipped folder; none needs a network."


def _steps(facts: ReadmeFacts) -> Iterator[_Step]:
    yield _Step(
        "签名（OpenSSL 3）：owner 为机构对条目的签名，log 为日志的签名，witness-N 为见证机构的联署；每行应输出"
        "“Signature Verified Successfully”。",
        "Signatures (OpenSSL 3): the owner's on the entry, the log's, and each witness's cosignature.",
        tuple(
            f"openssl pkeyutl -verify -pubin -inkey openssl/{name}.pem -rawin -in openssl/{name}.text "
            f"-sigfile openssl/{name}.sig"
            for name in facts.signed
        ),
    )
    yield _Step(
        "被签名的文本就是包内的条目与检查点（无输出即相同）。",
        "The signed texts are those of the entry and of the checkpoint (no output: the same).",
        (
            "(cat openssl/owner.text; echo; tail -n 1 leaf) | cmp - leaf",
            "(cat openssl/log.text; echo; tail -n +5 checkpoint) | cmp - checkpoint",
            "for text in openssl/witness-*.text; do tail -n +3 $text | cmp - openssl/log.text; done"
            if any(name.startswith("witness") for name in facts.signed)
            else "true",
        ),
    )
    yield _Step(
        "条目在日志中（RFC 6962 默克尔树，coreutils）：最后一行应输出 OK。",
        "The entry is in the log (Merkle tree of RFC 6962, with coreutils): the last line says OK.",
        tuple(_climbing(facts)),
    )
    statement = facts.statement
    yield _Step(
        "清单的摘要就是条目所记（b3sum），应输出 OK。",
        "The manifest's digest is the one in the entry (b3sum): says OK.",
        (
            f"grep -x 'manifest blake3 {statement.object}' leaf",
            f"echo '{statement.object}  object.manifest' | b3sum --check",
        ),
    )
    yield _Step(
        "文件清单：加盐承诺写在已签名的清单之中，应输出 OK。",
        "The file list: its salted commitment stands in the manifest: says OK.",
        (
            f"b3sum --keyed --no-names listing < salt | grep -x {facts.listing.hex()}",
            f"basenc --base16 -w0 object.manifest | tr A-F a-f | grep -q {facts.listing.hex()} && echo OK",
        ),
    )
    if facts.stamped:
        yield _Step(
            "可信时间戳（RFC 3161）。以时间戳机构公布的根证书替换 tsa.pem 更佳。",
            "The time stamp (RFC 3161). Better: put the authority's published root in place of tsa.pem.",
            (
                ("openssl ts -verify -data checkpoint -in checkpoint.tsr -CAfile tsa.pem -untrusted tsa.pem",)
                if facts.certificates
                else ("openssl ts -reply -in checkpoint.tsr -text | grep 'Time stamp'",)
            ),
        )


def _climbing(facts: ReadmeFacts) -> Iterator[str]:
    digest = "tr a-f A-F | basenc --base16 -d | sha256sum | cut -c1-64"
    yield "h=$( (printf '\\000'; cat leaf) | sha256sum | cut -c1-64)"
    for sibling, on_the_left in facts.steps:
        pair = f"01{sibling.hex()}$h" if on_the_left else f"01${{h}}{sibling.hex()}"
        yield f'h=$(printf %s "{pair}" | {digest})'
    yield 'sed -n 3p checkpoint | base64 -d | basenc --base16 -w0 | tr A-F a-f | grep -qx "$h" && echo OK'


def _tail() -> Iterator[str]:
    yield "恢复出的文件与清单比对（在文件所在的上级文件夹执行）：b3sum --check files.b3"
    yield "Restored files against the list, in the folder above them:  b3sum --check PATH/files.b3"
    yield "全部一次验证 / all of it at once:  moorage check-receipt BUNDLE.zip --against FOLDER --pool ID"
    yield "ML-DSA-44 联署（见 checkpoint 中的长行）由 moorage 或支持 FIPS 204 的工具验证。"
    yield "ML-DSA-44 cosignatures (the long lines in checkpoint): moorage, or tools that know FIPS 204."
    yield "Go: golang.org/x/mod/sumdb/note 与 tlog 可读 checkpoint 和 leaf.tlog-proof / read both files."
    yield ""
    yield "leaf: 条目 entry; leaf.tlog-proof, policy: c2sp.org; roster: 成员名册 members; object.receipt: moorage;"
    yield "listing + salt: 文件清单及其盐 file list and its salt (names of files: handle as personal data, 含个人信息)"
