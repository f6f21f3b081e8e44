"""Shows that scripts/check-structure finds what it is there to find. Usage: check_structure_test.py ROOT"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1))


class CheckStructure(unittest.TestCase):
    def findings(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            tree = {"src/CMakeLists.txt": "foreach(folder base text nn model)\n", "src/base/README.md": "",
                    "src/text/README.md": "", "src/nn/README.md": "", "src/model/README.md": "",
                    "src/base/error.h": "#pragma once\n", "src/text/utf8.h": '#pragma once\n#include "base/error.h"\n',
                    "src/nn/layer.h": "#pragma once\n#include <torch/torch.h>\n", **files}
            for name, text in tree.items():
                if text is not None:
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_text(text)
            done = subprocess.run([sys.executable, ROOT / "scripts/check-structure", root], capture_output=True,
                                  text=True, check=False)
            self.assertEqual(done.returncode, 1 if done.stdout else 0, done.stderr)
            return done.stdout

    def test_accepts_a_clean_tree(self):
        self.assertEqual(self.findings({}), "")

    def test_finds_an_include_that_points_upwards(self):
        self.assertIn("model comes after nn", self.findings(
            {"src/nn/a.cc": '#include "model/m.h"\n', "src/model/m.h": "#pragma once\n"}))

    def test_finds_libtorch_below_the_line(self):
        self.assertIn("src/text must not see LibTorch: ATen/ATen.h",
                      self.findings({"src/text/a.cc": "#include <ATen/ATen.h>\n"}))

    def test_finds_libtorch_through_another_header(self):
        self.assertIn("src/text must not see LibTorch: base/b.h -> c10/util/Half.h", self.findings(
            {"src/text/a.cc": '#include "base/b.h"\n', "src/base/b.h": "#pragma once\n#include <c10/util/Half.h>\n"}))

    def test_finds_a_folder_without_readme(self):
        self.assertIn("src/model/inner: no README.md", self.findings({"src/model/inner/a.h": "#pragma once\n"}))

    def test_finds_a_header_that_is_not_included_first(self):
        self.assertIn('must be "text/utf8.h"', self.findings(
            {"src/text/utf8.cc": '#include <string>\n#include "text/utf8.h"\n'}))

    def test_finds_a_missing_guard_and_a_missing_file(self):
        found = self.findings({"src/text/a.h": '#include "base/nothing.h"\n'})
        self.assertIn("no #pragma once", found)
        self.assertIn('"base/nothing.h" is no file', found)

    def test_finds_a_path_of_one_machine(self):
        self.assertIn("notes.md:2", self.findings({"docs/notes.md": "text\nsee /ho" + "me/me/x\n"}))

    def test_accepts_the_git_file_of_a_worktree(self):
        self.assertEqual(self.findings({".git": "gitdir: /ho" + "me/me/main/.git/worktrees/x\n"}), "")


if __name__ == "__main__":
    unittest.main()
