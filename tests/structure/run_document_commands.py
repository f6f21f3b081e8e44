"""Runs the commands that README.md and docs/*.md show. Usage: run_document_commands.py ROOT PROGRAM

A block is run when the line before it is <!-- test -->:

    <!-- test -->
    ```sh
    build/verbatim --version
    ```

The blocks of one page run one after the other in one temporary folder that looks like the root of the tree (tests,
configs, examples, docs, scripts, and build/verbatim), with `sh -eu`: what is printed in the page is what is run.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BLOCK = re.compile(r"<!-- test -->\s*\n```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run_page(page, root, program):
    blocks = BLOCK.findall(page.read_text())
    if len(blocks) != page.read_text().count("<!-- test -->"):
        print(f"{page.name}: a <!-- test --> mark without a ```sh block behind it")
        return 0, 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("tests", "configs", "examples", "docs", "scripts", "README.md", "CONTRIBUTING.md"):
            (place / name).symlink_to(root / name)
        (place / "build").mkdir()
        (place / "build/verbatim").symlink_to(program)
        for number, block in enumerate(blocks, 1):
            start = time.monotonic()
            done = subprocess.run(["sh", "-eux", "-c", block], cwd=place, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
            print(f"{page.relative_to(root)}, block {number}: {time.monotonic() - start:.1f} s")
            if done.returncode:
                print(done.stdout.decode(errors="replace"))
                print(f"{page.relative_to(root)}, block {number}: exit code {done.returncode}")
                failed += 1
    return len(blocks), failed


def main():
    root, program = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    run = failed = 0
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        page_run, page_failed = run_page(page, root, program)
        run, failed = run + page_run, failed + page_failed
    if not run:
        print("no page has a block marked <!-- test -->")
    return 1 if failed or not run else 0


if __name__ == "__main__":
    sys.exit(main())
