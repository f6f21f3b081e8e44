"""Tests scripts/manual-pages, which makes the demo's text. Usage: manual_pages_test.py ROOT"""

import gzip
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1))
SCRIPT = ROOT / "scripts/manual-pages"

PAGE = r'''.\" Copyright nobody
.TH LS 1 2023-02-05
.SH NAME
ls \- list directory \(lqcontents\(rq
.SH SYNOPSIS
.B ls
.RI [ OPTION ]...
.SH BESCHREIBUNG
Gibt Gr\(:o\[u00DF]en aus; siehe
.BR stat (2).
.TS
hidden table
.TE
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore entries starting with .
.PP
.nf
int  main(void)
    return "\en";
.fi
.if n \{\
hidden
.\}
.UR https://example.org
pages
.UE .
'''
TEXT = '''NAME

ls - list directory \u201ccontents\u201d

SYNOPSIS

ls [OPTION]...

BESCHREIBUNG

Gibt Gr\u00f6\u00dfen aus; siehe stat(2).

-a, --all
do not ignore entries starting with .

int  main(void)
    return "\\n";
pages <https://example.org>.
'''


class ManualPages(unittest.TestCase):
    def run_script(self, *arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, check=True).stdout

    def test_renders_a_page(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ls.1.gz")
            path.write_bytes(gzip.compress(PAGE.encode()))
            self.assertEqual(self.run_script("render", path).decode(), TEXT)

    def test_skips_pages_that_refer_to_another(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "dir.1")
            path.write_text(".so man1/ls.1\n")
            self.assertEqual(self.run_script("render", path).strip(), b"")

    def test_leaves_out_what_other_pages_had_already(self):
        with tempfile.TemporaryDirectory() as folder:
            pages = Path(folder, "man/fr/man1")
            pages.mkdir(parents=True)
            licence = "Ceci est un logiciel libre : vous pouvez le modifier et le redistribuer."
            for name in ("a.1", "b.1"):
                own = f"La commande {name} fait une chose et une seule. " * 20
                (pages / name).write_text(f".SH NOM\n{name}\n.SH DESCRIPTION\n{own}\n.SH COPYRIGHT\n{licence}\n")
            for out in ("out", "again"):
                self.run_script("collect", "--out", Path(folder, out), Path(folder, "man"))
            texts = [path.read_text() for path in sorted(Path(folder, "out/fr").iterdir())]
            self.assertEqual(len(texts), 2)
            self.assertEqual(sum(text.count(licence) for text in texts), 1)
            self.assertEqual(sum(text.count("COPYRIGHT") for text in texts), 1)
            self.assertEqual(texts, [path.read_text() for path in sorted(Path(folder, "again/fr").iterdir())])


if __name__ == "__main__":
    unittest.main()
