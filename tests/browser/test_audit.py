"""The audit sample on the page, and what the large view shows beside an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cleaner.core.records import Typical
from tests.support.browser_app import App
from tests.support.hosts import PATIENCE, voila
from tests.support.images import make_image
from tests.support.scans import make_scan


def test_audited_images_are_judged_without_the_answer_of_the_model(tmp_path: Path, chromium: Any) -> None:
    scan = make_scan(tmp_path / "data", tmp_path / "scan")
    alternatives = '[["dog", 0.9], ["fox", 0.07], ["cat", 0.03]]'
    samples = tuple(replace(sample, alternatives_json=alternatives) for sample in scan.samples)
    audit = []
    for seed, (label, rank) in enumerate([("cat", 1), ("cat", 2), ("dog", 1)]):
        audit.append(replace(samples[0], label=label, rank=rank, path=f"train/{label}/rest_{rank}.png"))
        make_image(scan.root / audit[-1].path, seed)
    typical = tuple(Typical("train", label, 1, f"train/{label}/{label}_08.png", 0.01) for label in ("cat", "dog"))
    folder = replace(scan, samples=samples, audit=tuple(audit), typical=typical).write(tmp_path / "scan").folder
    with voila(folder, tmp_path) as host:
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        host.open(page)
        app = App(page)
        app.point("cat_01.png")
        app.press("z")
        page.locator(".cleaner-typical img").nth(1).wait_for(timeout=PATIENCE)
        assert page.locator(".cleaner-typical").all_text_contents() == ["typical cat", "typical dog"]
        assert page.locator(".cleaner-alternative").all_text_contents() == ["1dog90 %", "2fox7.0 %", "3cat3.0 %"]
        app.press("Escape")
        app.list_row("Audit sample").click()
        app.card("rest_2.png").wait_for(timeout=PATIENCE)
        assert app.names() == ["rest_1.png", "rest_1.png", "rest_2.png"]
        card = page.locator(".cleaner-card").first
        assert card.locator(".cleaner-caption").text_content() == "cat"
        assert page.get_by_label("Predicted", exact=True).count() == 0
        # Nothing that is said about an image names the model's answer, which is dog.
        words = "card => [card.title, card.ariaLabel, card.textContent].join()"
        assert "dog" not in card.evaluate(words)
        card.locator(".cleaner-picture").click()
        assert app.footer("predicted").count() == 0
        app.press("Enter")
        app.wait_notice("The audit sample is judged without the model's prediction")
        app.press("z")
        page.locator(".cleaner-typical img").wait_for(timeout=PATIENCE)
        assert page.locator(".cleaner-typical").all_text_contents() == ["typical cat"]
        assert page.locator(".cleaner-alternative").count() == 0
        app.press("Escape")
        app.decide("rest_2.png", "delete", "✕ Delete")
        page.close()
    (wrong,) = [each for each in replace(scan, audit=tuple(audit)).estimate().classes if each.audited]
    assert (wrong.label, wrong.audited, wrong.audited_wrong) == ("cat", 1, 1)
