"""docs/man is what the program's own tables say now (`make man` writes it)."""
import os

from lib.container import must
from lib.testing import bailey_only

PAGES = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "man")


@bailey_only("its own manual")
def test_pages_are_up_to_date(t):
    words = must(t.runtime("help", "--words")).out.split()
    verbs = [w for w in words if not w.startswith("-")]
    pages = {f"bailey-{v}.8": ("help", "--man", v) for v in verbs}
    pages["bailey.8"] = ("help", "--man")
    t.eq(sorted(os.listdir(PAGES)), sorted(pages))
    for name, argv in pages.items():
        with open(os.path.join(PAGES, name), encoding="utf-8") as f:
            t.eq(f.read(), must(t.runtime(*argv)).out, name)
