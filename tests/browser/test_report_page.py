"""The report in a headless Chromium: it draws, says nothing on the console, asks for nothing, and can be worked.

Needs chromium and chromedriver (Debian: `chromium`, `chromium-driver`). Without them the tests are skipped, unless
QUANTLOOM_BROWSER=required is set, as CI does: then they fail.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantloom.joint_search.config import RIVALS
from report_runs import HOSTILE, finished_run, stopped_run

IS_REQUIRED = os.environ.get("QUANTLOOM_BROWSER") == "required"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,1000"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

if not IS_REQUIRED and (BROWSER is None or DRIVER is None):
    pytest.skip("no chromium or no chromedriver", allow_module_level=True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    assert BROWSER is not None, "QUANTLOOM_BROWSER=required, but there is no chromium"
    assert DRIVER is not None, "QUANTLOOM_BROWSER=required, but there is no chromedriver"
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", autouse=True)
def no_picture() -> Iterator[None]:
    """Drawing front.png takes most of the time of a small search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "finished", name=HOSTILE)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_run(tmp_path_factory.mktemp("runs") / "stopped")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "compared", compare=RIVALS)


def opened(browser: Any, directory: Path) -> Any:
    browser.get((directory / "report.html").as_uri())
    return browser


def all_of(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def text_of(browser: Any, selector: str) -> str:
    [found] = all_of(browser, selector)
    return str(found.text)


def is_quiet(browser: Any) -> bool:
    """Nothing on the console, nothing requested, no markup from a name."""
    requested = browser.execute_script("return performance.getEntriesByType('resource').length")
    return browser.get_log("browser") == [] and requested == 0 and not all_of(browser, "img, iframe, link[href^=http]")


def test_every_section_is_drawn_and_nothing_is_requested(browser: Any, finished: Path) -> None:
    page = opened(browser, finished)
    assert is_quiet(page)
    titles = [title.text for title in all_of(page, "main h2")]
    assert titles[:3] == ["Front", "What the front saves", "Bits of every tensor"]
    assert {"Hypervolume", "Where the energies are from", "Manifest"} <= set(titles)
    front = json.loads((finished / "front.json").read_text())
    points = [*front["points"], *front["baselines"]]
    assert len(all_of(page, "#front .mark")) == len(points)
    assert len(all_of(page, "#bits tbody tr")) == len(points)
    assert len(all_of(page, "#bits tbody td")) == len(points) * 3
    chosen = front["points"][-1]
    assert [cell.text for cell in all_of(page, "#bits tr.chosen td")] == [
        str(x["weight_bits"]) for x in chosen["layers"]
    ]
    levels = [row.text.split()[0] for row in all_of(page, "#energy .scroll:first-of-type tbody tr")]
    assert levels[0] == "DRAM"
    assert "arithmetic" in levels
    nest = text_of(page, "#mapping .nest")
    assert nest.startswith("DRAM")
    assert nest.endswith("multiply and accumulate")
    stored = json.loads((finished / "mappings.json").read_text())["mappings"][chosen["layers"][0]["mapping"]]
    loops = sum(bound > 1 for level in stored["mapping"] for _, bound in level["temporal"])
    assert len(all_of(page, "#mapping .loop:not(.space) b")) == loops
    title = page.execute_script("return document.getElementById('mapping-title').textContent")
    assert title == f"Mapping of {HOSTILE} layer0 in {chosen['label']}"


def test_a_click_on_a_point_shows_that_point(browser: Any, finished: Path) -> None:
    page = opened(browser, finished)
    before = text_of(page, "#energy-title")
    first = all_of(page, "#front .mark")[0]
    label = first.get_attribute("aria-label").split(",")[0]
    page.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", first)
    assert text_of(page, "#energy-title") == f"Energy of {label}" != before
    assert text_of(page, "#latency-title") == f"Latency of {label}"
    assert text_of(page, "#bits tr.chosen th") == label
    assert [m.get_attribute("aria-checked") for m in all_of(page, "#front .mark")].count("true") == 1
    all_of(page, "#latency tbody th button")[2].click()
    assert "layer2" in text_of(page, "#mapping-title")
    assert is_quiet(page)


def test_the_pointer_over_a_point_shows_its_figures(browser: Any, finished: Path) -> None:
    from selenium.webdriver import ActionChains

    page = opened(browser, finished)
    assert not all_of(page, "#tip")[0].is_displayed()
    ActionChains(page).move_to_element(all_of(page, "#front .mark .hit")[0]).perform()
    tip = text_of(page, "#tip")
    for word in ("energy", "latency", "weight memory", "bits of weights", "cycles", "accuracy, test"):
        assert word in tip


def test_the_keyboard_is_enough(browser: Any, finished: Path) -> None:
    from selenium.webdriver import Keys

    page = opened(browser, finished)

    def chosen() -> str:
        return str(all_of(page, "#front .mark[aria-checked='true']")[0].get_attribute("aria-label"))

    stops = [m for m in all_of(page, "#front .mark") if m.get_attribute("tabindex") == "0"]
    assert len(stops) == 1
    all_of(page, "#theme")[0].send_keys(Keys.TAB)  # on to the point's select
    assert page.switch_to.active_element.get_attribute("id") == "point"
    start = chosen()
    page.execute_script("arguments[0].focus()", stops[0])
    page.switch_to.active_element.send_keys(Keys.HOME)
    cheapest = chosen()
    assert cheapest != start
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert chosen() != cheapest
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert chosen() == cheapest
    assert page.switch_to.active_element.get_attribute("aria-checked") == "true"
    assert cheapest.split(", ")[1].removeprefix("accuracy ") in text_of(page, "#chosen")
    assert is_quiet(page)


def test_axes_tensors_and_theme_can_be_changed(browser: Any, finished: Path) -> None:
    page = opened(browser, finished)
    memories = ("weight_memory_bits", "peak_activation_memory_bits", "bops")
    for value in ("latency_cycles", "edp_pj_cycles", "sum_edp_pj_cycles", *memories, "energy_pj"):
        page.find_element("css selector", f"#cost option[value={value}]").click()
        assert not all_of(page, "#front svg [cx*='NaN'], #front svg [d*='NaN'], #front svg [x*='NaN']")
    all_of(page, "#bits input[value=activations]")[0].click()
    assert len(all_of(page, "#bits thead th")) == 1 + 4
    theme = page.execute_script("return document.documentElement.dataset.theme")
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    all_of(page, "#theme")[0].click()
    assert page.execute_script("return document.documentElement.dataset.theme") != theme
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") != ground
    assert is_quiet(page)


def test_everything_that_can_be_worked_has_a_name(browser: Any, finished: Path) -> None:
    page = opened(browser, finished)
    nameless = page.execute_script(
        """
        const named = (e) => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
          || (e.labels && [...e.labels].some((l) => l.textContent.trim()));
        return [...document.querySelectorAll("button, select, input, a[href], [role], [tabindex='0']")]
          .filter((e) => e.id !== "tip" && e.id !== "chosen" && !named(e)).map((e) => e.outerHTML.slice(0, 80));
        """
    )
    assert nameless == []
    assert page.execute_script("return document.querySelectorAll('th:not([scope])').length") == 0
    for figure in ("#front", "#trace"):
        assert all_of(page, f"{figure} details table")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_never_wider_than_the_window(browser: Any, finished: Path, width: int) -> None:
    page = opened(browser, finished)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_printed_it_is_black_on_white_also_from_a_dark_page(browser: Any, finished: Path) -> None:
    page = opened(browser, finished)
    page.execute_script("document.documentElement.dataset.theme = 'dark'")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        assert page.execute_script(style) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        assert not all_of(page, "#theme")[0].is_displayed()
        assert page.execute_cdp_cmd("Page.printToPDF", {})["data"].startswith("JVBERi0")  # %PDF-
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_what_is_left_out_is_said_in_numbers(browser: Any, finished: Path, tmp_path: Path) -> None:
    from quantloom.joint_search.run_report import _thinned, read_run
    from quantloom.report.page import render_page

    run = read_run(finished)
    count = len(run["points"])

    def legend(run: Any) -> str:
        (tmp_path / "report.html").write_text(render_page(run))
        return text_of(opened(browser, tmp_path), "#front .legend")

    assert f"front ({count})" in legend(_thinned(run, 1, 1))
    assert f"front ({-(-count // 2)}, every 2nd of {count})" in legend(_thinned(run, 1, 2))
    assert f"front (1, the first of {count})" in legend(_thinned(run, 1, 64))
    for step, word in ((2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (112, "112th")):
        assert f"evaluated, every {word} of 40" in legend({**_thinned(run, 1, 1), "candidate_step": step})
    thinned = _thinned(run, 2, 1)
    chosen = next(i for i, point in enumerate(thinned["points"]) if point["layers"][0][-1] < 0)
    legend(thinned)
    browser.find_element("css selector", f"#point option[value='{chosen}']").click()
    assert "holds the mappings of every 2nd point only" in text_of(browser, "#energy")
    assert is_quiet(browser)


def test_an_unfinished_run_is_shown_as_such(browser: Any, stopped: Path) -> None:
    from quantloom.joint_search.run_report import write_report

    write_report(stopped)
    page = opened(browser, stopped)
    assert is_quiet(page)
    assert "not finished" in text_of(page, ".badge")
    assert text_of(page, "#front-title") == "Front so far"
    assert "mappings are written when it ends" in text_of(page, "#energy")
    all_of(page, "#bits tbody th button")[0].click()
    assert len(all_of(page, "#front .mark")) == len(all_of(page, "#bits tbody tr"))
    assert is_quiet(page)


def test_the_fronts_and_traces_of_other_searches_are_drawn_beside_its_own(browser: Any, compared: Path) -> None:
    page = opened(browser, compared)
    assert is_quiet(page)
    curves = json.loads((compared / "front.json").read_text())["curves"]
    names = [name.replace("_", " ") for name in RIVALS]
    assert len(all_of(page, "#rivals path.curve")) == len(RIVALS)
    assert len(all_of(page, "#rivals path.rival")) == sum(len(curve["points"]) for curve in curves)
    assert len(all_of(page, "#front .mark")) == len(all_of(page, "#bits tbody tr"))  # they cannot be chosen
    dashes = {path.get_attribute("stroke-dasharray") for path in all_of(page, "#rivals path.curve")}
    assert len(dashes) == len(RIVALS)  # told apart without colours
    entries = [entry.text for entry in all_of(page, "#front .legend li")][-len(RIVALS) :]
    assert entries == [f"{name} ({len(curve['points'])})" for name, curve in zip(names, curves, strict=True)]
    assert [entry.text for entry in all_of(page, "#trace .legend li")] == ["search", *names]
    assert len(all_of(page, "#trace .plot path.curve")) == len(RIVALS)
    for cost in ("latency_cycles", "weight_memory_bits", "energy_pj"):
        page.find_element("css selector", f"#cost option[value={cost}]").click()
        assert not all_of(page, "#front svg [d*='NaN'], #front svg [transform*='NaN'], #trace svg [d*='NaN']")
    assert is_quiet(page)


def test_every_rival_point_lies_inside_the_plot(browser: Any, compared: Path) -> None:
    page = opened(browser, compared)
    inside = """
      const box = document.querySelector("#front svg.plot").getBoundingClientRect();
      return [...document.querySelectorAll("#rivals path.rival")].map((e) => e.getBoundingClientRect())
        .every((r) => r.left >= box.left && r.right <= box.right && r.top >= box.top && r.bottom <= box.bottom);
    """
    assert page.execute_script(inside)


def test_tables_say_what_is_drawn_of_other_searches(browser: Any, compared: Path) -> None:
    page = opened(browser, compared)
    curves = json.loads((compared / "front.json").read_text())["curves"]
    rows = page.execute_script(
        "return [...document.querySelectorAll('#front details')].at(-1).querySelectorAll('tbody th')"
        ".values().map((e) => e.textContent).toArray()"
    )
    assert rows == [point["label"] for curve in curves for point in curve["points"]]
    head, *steps = page.execute_script(
        "return [...document.querySelectorAll('#trace table tr')].map((r) => [...r.children].map((c) => c.textContent))"
    )
    assert head == ["generation", "search", *(name.replace("_", " ") for name in RIVALS)]
    for column, curve in enumerate(curves, start=2):
        found = [float(row[column]) for row in steps if row[column]]
        assert found == pytest.approx(curve["hypervolume_trace"], rel=1e-6)
    said = all_of(page, "#trace svg.plot")[0].get_attribute("aria-label")
    assert all(f"{curve['name'].replace('_', ' ')} to {curve['hypervolume_share']:.4}"[:24] in said for curve in curves)


def test_the_pointer_over_a_rival_shows_its_figures(browser: Any, compared: Path) -> None:
    page = opened(browser, compared)
    page.execute_script("document.querySelector('#rivals path.rival').dispatchEvent(new PointerEvent('pointerenter'))")
    label = json.loads((compared / "front.json").read_text())["curves"][0]["points"][0]["label"]
    assert label in text_of(page, "#tip")


def test_a_run_from_before_traces_were_kept_shows_the_fronts_alone(
    browser: Any, compared: Path, tmp_path: Path
) -> None:
    from quantloom.joint_search.run_report import write_report

    older = tmp_path / "older"
    shutil.copytree(compared, older)
    front = json.loads((older / "front.json").read_text())
    for curve in front["curves"]:
        del curve["hypervolume_trace"]
    (older / "front.json").write_text(json.dumps(front))
    write_report(older)
    page = opened(browser, older)
    assert len(all_of(page, "#rivals path.curve")) == len(RIVALS)
    assert all_of(page, "#trace .legend") == []
    assert all_of(page, "#trace .plot path.curve") == []
    assert is_quiet(page)
