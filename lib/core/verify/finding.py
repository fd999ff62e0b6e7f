"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from ganeti_gluster.core.verify.codes import CODES, ERROR, Severity
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import LONGEST_SENTENCE, Matches, Sentence

#: What the hook of `gnt-cluster verify` puts before findings that it hands on as JSON.
MARK = "ganeti-gluster-findings: "


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: code, severity, the object, one sentence, what to do.

    `object` is a node's, volume's, brick's (server:path) or image's name.
    """

    code: Annotated[str, Matches("[A-Z][A-Z0-9_]{0,63}")]
    severity: Severity
    object: Sentence
    text: Sentence
    remedy: Sentence

    @classmethod
    def of(
        cls,
        code: str,
        subject: str,
        text: str,
        *,
        severity: Severity | None = None,
        **names: Any,
    ) -> Finding:
        """A finding of a code in the table; `names` fill its remedy.

        Each part can be printed whatever is in it: names of files on volumes are anybody's.
        """
        entry = CODES[code]
        remedy = entry.remedy % names if "%(" in entry.remedy else entry.remedy
        parts = (
            decode.printable(part, longest=LONGEST_SENTENCE) for part in (subject, text, remedy)
        )
        return cls(code, severity or entry.severity, *parts)

    def __str__(self) -> str:
        """One line: severity, code and sentence."""
        return "%s: %s: %s" % (self.severity.value, self.code, self.sentence)

    @property
    def sentence(self) -> str:
        """The object, what is wrong with it, and what to do."""
        return "%s: %s; %s" % (self.object, self.text, self.remedy)

    def concerns(self, node: str) -> bool:
        """Whether it is about a node, or about a brick of it."""
        return self.object == node or self.object.startswith(node + ":")


def from_json(text: str) -> list[Finding]:
    """Findings from a JSON list of what `as_data` made of them; raises NotUnderstood."""
    findings: list[Finding] = decode.value(list[Finding], decode.plain(text), "findings")
    return findings


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once: errors first, then by code, object and text."""
    return sorted(
        set(findings),
        key=lambda f: (f.severity is not ERROR, f.code, f.object, f.text),
    )


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of them is an ERROR."""
    return any(finding.severity is ERROR for finding in findings)
