"""The app as a person uses it: clicks, and the text on the page."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from cleaner.core.manifest import Manifest
from cleaner.core.scan import Scan
from tests.support.hosts import PATIENCE


class App:
    """The review app on a page of the browser."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def card(self, name: str) -> Any:
        """Return the card of the image with this file name."""
        return self.page.locator(f'.cleaner-card[data-name="{name}"]')

    def press(self, *keys: str) -> None:
        """Press keys one after the other, without waiting for what they do."""
        for key in keys:
            self.page.keyboard.press(key)

    def names(self) -> list[str]:
        """Return the file names on the page, in order."""
        return self.page.locator(".cleaner-card").evaluate_all("cards => cards.map(card => card.dataset.name)")

    def point(self, name: str) -> None:
        """Click the picture of a card, and wait until the cursor and the focus are on it."""
        self.card(name).locator(".cleaner-picture").click(position={"x": 60, "y": 60})
        self.wait_at(name)

    @property
    def end(self) -> Any:
        """What stands at the end of a page, while it has the focus."""
        return self.page.locator(".cleaner-end:focus")

    def footer(self, command: str) -> Any:
        """Return a button of the bar at the bottom."""
        return self.page.locator(f".cleaner-keys [data-tool={command}]")

    def columns(self) -> int:
        """Return how many cards are in a row."""
        tops = self.page.locator(".cleaner-card").evaluate_all("cards => cards.map(card => card.offsetTop)")
        return int(tops.count(tops[0]))

    def boxes(self, parts: str = ".cleaner-card") -> list[list[float]]:
        """Return the place and size of each card, or of other parts, on the screen."""
        script = "nodes => nodes.map(node => Object.values(node.getBoundingClientRect().toJSON()))"
        return list(self.page.locator(parts).evaluate_all(script))

    def hidden_part(self) -> float:
        """Return how many pixels of the cursor's card, or of the end of the page, something around it hides."""
        return float(
            self.page.evaluate(
                """() => {
                    const card = document.querySelector(".cleaner-card.cleaner-at, .cleaner-end");
                    const box = card.getBoundingClientRect();
                    const hidden = [-box.top, box.bottom - innerHeight, -box.left, box.right - innerWidth];
                    for (let area = card.parentElement; area !== document.body; area = area.parentElement) {
                        const style = getComputedStyle(area);
                        if (style.display === "contents" || style.overflowY === "visible") continue;
                        const around = area.getBoundingClientRect();
                        hidden.push(around.top - box.top, box.bottom - around.bottom);
                        hidden.push(around.left - box.left, box.right - around.right);
                        if (style.position === "fixed") break;
                    }
                    return Math.max(0, ...hidden);
                }"""
            )
        )

    def open_filters(self) -> None:
        """Unfold the filters, where the app is too narrow to show them always."""
        button = self.page.locator(".cleaner-filter-button[aria-expanded=false]")
        if button.is_visible():
            button.click()

    def open_sidebar(self) -> None:
        """Open the sidebar, where the app is too narrow to show it always."""
        if not self.page.locator(".cleaner-rows").is_visible():
            self.page.locator(".cleaner-menu").click()

    def click_empty(self, part: str) -> None:
        """Click a point of a part of the page where nothing can be pressed."""
        place = self.page.evaluate(
            """part => {
                const node = document.querySelector(part), box = node.getBoundingClientRect();
                for (let y = box.bottom - 3; y > box.top; y -= 3)
                    for (let x = box.right - 3; x > box.left; x -= 3) {
                        const at = document.elementFromPoint(x, y);
                        const isEmpty = node.contains(at) && !at.closest("button, input, select, label, a, kbd");
                        if (isEmpty && !at.closest(".cleaner-card, .cleaner-place, .cleaner-saved")) return { x, y };
                    }
                return null;
            }""",
            part,
        )
        assert place, f"{part} has no empty part"
        self.page.mouse.click(place["x"], place["y"])

    def click_gap(self) -> None:
        """Click in the gap between the first two cards."""
        first, second = (self.page.locator(".cleaner-card").nth(n).bounding_box() for n in (0, 1))
        assert first["y"] == second["y"]
        self.page.mouse.click((first["x"] + first["width"] + second["x"]) / 2, first["y"] + 40)

    def wait_json(self, script: str, value: Any) -> None:
        """Wait until a script returns this value."""
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        self.page.wait_for_function(
            f"value => JSON.stringify({script}) === value", arg=text, timeout=PATIENCE, polling=50
        )

    def wait_selected(self, *names: str) -> None:
        """Wait until these cards, and no others, are selected."""
        script = "[...document.querySelectorAll('.cleaner-card[aria-selected=true]')].map(card => card.dataset.name)"
        self.wait_json(script, list(names))

    def wait_large(self, name: str) -> Any:
        """Wait until the large view shows this image, with its large picture; return the view."""
        large = self.page.locator(".cleaner-large[open]")
        large.locator(".cleaner-large-name", has_text=name).wait_for(timeout=PATIENCE)
        large.locator(".cleaner-large-picture[aria-busy=false] img").wait_for(timeout=PATIENCE)
        return large

    def wait_notice(self, text: str) -> None:
        """Wait until the page says this, over the images."""
        self.page.locator(".cleaner-alert", has_text=text).first.wait_for(timeout=PATIENCE)

    def wait_at(self, name: str) -> None:
        """Wait until the cursor and the focus are on this card."""
        self.page.locator(f'.cleaner-card.cleaner-at:focus[data-name="{name}"]').wait_for(timeout=PATIENCE)

    def tool(self, name: str, tool: str) -> Any:
        """Return a button on the picture of a card; the pointer brings it there."""
        self.card(name).hover()
        return self.card(name).locator(f"[data-tool={tool}]")

    def decide(self, name: str, action: str, shows: str) -> None:
        """Click a button of a card and wait until the card shows the decision."""
        self.tool(name, action).click()
        self.wait_for(name, shows)

    def relabel(self, name: str, label: str) -> None:
        """Choose another label for a card and wait until the card shows it."""
        self.tool(name, "relabel").click()
        self.page.locator(f'.cleaner-choice[data-label="{label}"]').click()
        self.wait_for(name, f"⇒ {label}")

    def wait_for(self, name: str, shows: str) -> None:
        """Wait until nothing is on its way for a card, and it shows a decision, `undecided` or `not confirmed`."""
        self.page.wait_for_function(
            """([name, shows]) => {
                const card = document.querySelector(`.cleaner-card[data-name="${CSS.escape(name)}"]`);
                const isUnconfirmed = card?.dataset.unconfirmed === "true";
                const text = isUnconfirmed ? "not confirmed" : card?.querySelector(".cleaner-what")?.textContent;
                return card?.ariaBusy === "false" && (text ?? "undecided") === shows;
            }""",
            arg=[name, shows],
            timeout=PATIENCE,
        )

    def decisions(self) -> dict[str, str]:
        """Return the text of the decision of each decided card on the page, by file name."""
        return self.page.locator(".cleaner-card:not([data-decision=''])").evaluate_all(
            "cs => Object.fromEntries(cs.map(c => [c.dataset.name, c.querySelector('.cleaner-what').textContent]))"
        )

    def list_row(self, name: str) -> Any:
        """Return the row of a list in the sidebar."""
        return self.page.locator(".cleaner-list").filter(has=self.page.get_by_text(name, exact=True))

    def open_list(self, name: str, first: str) -> None:
        """Click a list of the sidebar and wait until its first image is the first card."""
        self.list_row(name).click()
        self.wait_title(name)
        self.wait_first(first)

    def wait_title(self, name: str) -> None:
        """Wait until the list of this name is open."""
        self.page.wait_for_function(
            "name => document.querySelector('.cleaner-title')?.textContent === name", arg=name, timeout=PATIENCE
        )

    @property
    def split(self) -> Any:
        """The choice of the split."""
        return self.page.locator(".cleaner-split select")

    def open_split(self, split: str, first: str) -> None:
        """Choose a split and wait until its first image is the first card."""
        self.split.select_option(split)
        self.wait_first(first)

    def wait_first(self, name: str) -> None:
        """Wait until this image is the first card, and every picture is decoded."""
        self.page.wait_for_function(
            "name => document.querySelector('.cleaner-card')?.dataset.name === name", arg=name, timeout=PATIENCE
        )
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
    """Return all violations that axe-core finds in the app."""
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(f"() => {{ {script}\n window.axe = axe; }}")
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['impact']} {each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]


def standing(scan: Scan) -> dict[str, str]:
    """Return the decisions that stand in the manifest, by file name."""
    found = Manifest(scan.manifest_path).standing()
    return {path.rsplit("/", 1)[1]: f"{d.action.value} {d.new_label}".strip() for path, d in found.items()}


def in_sight(locator: Any) -> bool:
    """Return whether the middle of an element is on the screen with nothing over it."""
    return bool(
        locator.evaluate(
            """node => {
                const box = node.getBoundingClientRect();
                const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return top !== null && (node.contains(top) || top.contains(node));
            }"""
        )
    )
