"""The app as a person uses it: clicks, and the text on the page."""

from __future__ import annotations

from importlib import resources
from typing import Any

from tests.support.hosts import PATIENCE


class App:
    """The review app on a page of the browser."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def card(self, name: str) -> Any:
        """Return the card of the image with this file name."""
        return self.page.locator(".cleaner-card", has=self.page.locator(f".cleaner-name >> text='{name}'"))

    def names(self) -> list[str]:
        """Return the file names on the page, in order."""
        return self.page.locator(".cleaner-name").all_text_contents()

    def decide(self, name: str, action: str, shows: str) -> None:
        """Click a button of a card and wait until the card shows the decision."""
        self.card(name).locator(f"button[data-action={action}]").click()
        self.wait_for(name, shows)

    def relabel(self, name: str, label: str) -> None:
        """Choose another label for a card and wait until the card shows it."""
        self.card(name).locator("button[data-action=relabel]").click()
        self.card(name).locator(f".cleaner-choices button[data-label='{label}']").click()
        self.wait_for(name, f"→ {label}")

    def wait_for(self, name: str, shows: str) -> None:
        """Wait until a card shows a decision."""
        self.card(name).locator(f".cleaner-decision >> text='{shows}'").wait_for(timeout=PATIENCE)

    def decisions(self) -> dict[str, str]:
        """Return the text of the decision of each decided card on the page, by file name."""
        cards = self.page.locator(".cleaner-card:not([data-decision=''])")
        found = {}
        for card in cards.all():
            found[card.locator(".cleaner-name").text_content()] = card.locator(".cleaner-what").text_content()
        return found

    def choose(self, description: str, value: str, first: str) -> None:
        """Choose a split or a class and wait until its first image is the first card."""
        self.page.get_by_label(description, exact=True).select_option(label=value)
        # The first image may have the same name before and after, or there may be none.
        self.page.wait_for_function(
            "value => document.querySelector('.cleaner-grid').getAttribute('aria-label').includes(value)",
            arg=value,
            timeout=PATIENCE,
        )
        self.wait_first(first)

    def wait_first(self, name: str) -> None:
        """Wait until this image is the first card, and every picture is decoded."""
        self.page.locator(f".cleaner-card:first-child .cleaner-name >> text='{name}'").wait_for(timeout=PATIENCE)
        self.page.wait_for_function(
            "[...document.querySelectorAll('.cleaner-picture img')].every(i => i.complete && i.naturalWidth > 0)",
            timeout=PATIENCE,
        )


CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def violations(page: Any) -> list[str]:
    """Return the serious and critical violations that axe-core finds on the page."""
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(f"() => {{ {script}\n window.axe = axe; }}")
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['impact']} {each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]
