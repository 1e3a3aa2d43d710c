"""Pages without a kernel, which tell a visitor why the review does not open and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

__all__ = ["CONTINUE", "FULL", "LOGGED_OUT", "OTHER_SITE", "PlainPage"]

_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif;
  background: light-dark(#f5f5f5, #1e1e1e); color: light-dark(#212121, #e0e0e0); }
main { box-sizing: border-box; width: min(34rem, 100vw - 2rem); padding: 1.5rem 2rem; border-radius: 6px;
  background: light-dark(#fff, #2a2a2a); border: 1px solid light-dark(#bdbdbd, #555); border-left: 6px solid #1565c0; }
h1 { font-size: 1.25rem; margin: 0 0 0.5rem; }
p { margin: 0 0 0.75rem; }
a { display: inline-block; padding: 0.4rem 0.9rem; border-radius: 4px; background: #1565c0; color: #fff;
  text-decoration: none; }
a:focus-visible { outline: 2px solid light-dark(#212121, #e0e0e0); outline-offset: 2px; }
"""


@dataclass(frozen=True)
class PlainPage:
    """A page of a title, sentences and a link.

    Attributes:
        status: HTTP status.
        title: heading.
        sentences: one paragraph each; `html` fills in `{…}`.
        link: text of the link; empty for none.
        is_redirect: open the link's target at once.
    """

    status: int
    title: str
    sentences: tuple[str, ...]
    link: str = ""
    is_redirect: bool = False

    def html(self, target: str = "", **values: object) -> str:
        """Return the page with a link to `target`, and with `values` in its sentences."""
        paragraphs = [f"<p>{escape(sentence.format(**values))}</p>" for sentence in self.sentences]
        if self.link:
            paragraphs.append(f'<a href="{escape(target)}">{escape(self.link)}</a>')
        redirect = f'<meta http-equiv="refresh" content="0; url={escape(target)}">' if self.is_redirect else ""
        return (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(self.title)}</title>'
            f"{redirect}<style>{_STYLE}</style></head>"
            f"<body><main><h1>{escape(self.title)}</h1>{''.join(paragraphs)}</main></body></html>"
        )


FULL = PlainPage(
    503,
    "The review is full",
    (
        "Open pages of this review: {max_pages}, as many as the server allows.",
        "Close a page of the review that you do not need, or try again in a minute. Every decision is saved.",
        "The option --max-visitors allows more: ask the person who started the server.",
    ),
    "Try again",
)
CONTINUE = PlainPage(200, "Opening the review", ("The review opens in a moment.",), "Open the review", is_redirect=True)
OTHER_SITE = PlainPage(
    403,
    "Open the review yourself",
    ("Another site sent you here. The review opens only when you ask for it.",),
    "Open the review",
)
LOGGED_OUT = PlainPage(
    200,
    "You are logged out",
    ("To come back, open the address that cleaner serve printed.",),
)
