"""report_page.py - look at the page of "mbackup report --html" as a person would, and say what is wrong with it.

    report_page.py FILE.html REPORT.json HOSTILE DIRECTORY

REPORT.json is the answer of "mbackup report --json" over the same stack, HOSTILE the name of a mark that wants to be markup.
Prints "0 what" or "1 what"; pictures go into the directory.
"""
import json
import sys

from browser import Browser
from look import LOOK, ROWS
from terminal import Tap

path, answer, hostile, directory = sys.argv[1:5]
with open(answer, encoding="utf-8") as file:
    told = json.load(file)["report"]
url = "file://" + path
check = Tap()


def ready(browser, **how):
    page = browser.page(**how)
    page.go(url)
    page.wait("document.body.classList.contains('is-ready')")
    return page


def rows(page, section):
    return page.value(f"{ROWS}('{section}')")


with Browser() as browser:
    for name, how in {"wide-light": {"width": 1280}, "wide-dark": {"width": 1280, "dark": True}, "narrow-light": {"width": 390, "height": 844}, "narrow-dark": {"width": 390, "height": 844, "dark": True},
                      "tablet": {"width": 760, "height": 1000}}.items():
        page = ready(browser, **how)
        found = page.value(LOOK)
        check(f"{name}: nothing is outside, nothing is faint", found["outside"] + found["contrast"])
        page.picture(f"{directory}/report-{name}.png")
    page = ready(browser)
    check("it asks for nothing", sorted(set(page.asked) - {url}))
    check("nothing is complained about in the console", page.said)
    check("no name has become markup", page.value("[window.hacked, document.images.length, document.scripts.length, document.querySelectorAll('iframe, #marks b, [onerror]').length].join()") != ",0,2,0")
    check("the mark with the hostile name is there as it is", hostile not in [r["Mark"] for r in rows(page, "marks")])
    page.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))")
    check("its policy would not run a script that somebody slips in", page.value("window.hacked") == 1 or not page.said)
    page = ready(browser)
    check("up to when one can go back", "You can go back to any moment up to" not in page.value("document.querySelector('#hero').innerText"))
    check("the backups of the answer", [r["Id"] for r in rows(page, "backups")] != [b["id"] for b in told["backups"]] or len(told["backups"]) < 3)
    check("the drills of the answer", [r["Result"] for r in rows(page, "drills")] != [d["status"] for d in told["drills"]] or not told["drills"])
    check("the schedules of the answer", [(r["Schedule"], r["When"]) for r in rows(page, "schedules")] != [(s["name"], s["expression"]) for s in told["schedules"]] or not told["schedules"])
    check("why each backup is kept", [r["Why"] for r in rows(page, "retention")] != ["; ".join(r.removeprefix("kept: ") for r in b["reasons"]) for b in told["retention"]["backups"]])
    check("the problems of the answer, each with its fix", page.value("[...document.querySelectorAll('#problems .what')].map(p => p.innerText)")
          != [f"{'Failed' if p['severity'] == 'failed' else 'Warning'}: {p['component']} \u00b7 {p['name']}" for p in told["problems"]] or page.value("document.querySelectorAll('#problems .fix').length") != len(told["problems"]))
    check("what was read", told["verified"][0]["message"].split(" since ")[0] not in page.value("document.querySelector('#verified').innerText"))
    counts = page.value("['window', 'diamond', 'gap'].map(c => document.querySelectorAll(`#timeline-svg .${c}`).length)")
    wanted = [len([w for w in told["windows"] if w.get("from")]), len(told["marks"]), sum(len(w["gaps"]) for w in told["windows"])]
    check("the time line has every window, mark and gap", counts != wanted and f"{counts} {wanted}")
    check("a bar for each backup, twice", page.value("document.querySelectorAll('#trend rect').length") != 2 * len(told["backups"]))
    check("nothing of a daemon", page.value("[!document.querySelector('#jobs').hidden, document.querySelector('footer a') !== null, /daemon|JavaScript|ago\\b/.test(document.querySelector('header').innerText + document.querySelector('#hero').innerText + document.querySelector('footer').innerText)]")
          != [False, False, False])
    check("every section that is shown is named", page.value("[...document.querySelectorAll('section[aria-labelledby]')].filter(s => !s.hidden && !document.getElementById(s.getAttribute('aria-labelledby')).innerText).length"))
    page.value("document.activeElement.blur(); window.stops = new Set()")
    total = page.value("[...document.querySelectorAll('a, button, time, input:checked')].filter(e => e.getClientRects().length).length")
    for _ in range(total + 3):
        page.key("Tab")
        page.value("window.stops.add(document.activeElement); null")
    missed = page.value("[...document.querySelectorAll('a, button, time, input:checked')].filter(e => e.getClientRects().length && !window.stops.has(e)).length")
    check(f"Tab reaches all that can be used ({total})", missed or total < 10)
    page = ready(browser, width=800, height=1100)
    page.call("Emulation.setEmulatedMedia", {"media": "print"})
    found = page.value(LOOK)
    check("on paper: nothing is outside, nothing is faint", found["outside"] + found["contrast"])
    check("on paper: nothing to press", page.value("[...document.querySelectorAll('button, fieldset')].filter(e => e.getClientRects().length).length"))
    pdf = page.call("Page.printToPDF", {"printBackground": True})["data"]
    check("it can be printed", len(pdf) < 20000)
    page = browser.page()
    page.call("Emulation.setScriptExecutionDisabled", {"value": True})
    page.go(url)
    page.listen(1)
    page.call("Emulation.setScriptExecutionDisabled", {"value": False})
    text = page.value("document.querySelector('pre.plain')?.innerText || document.querySelector('noscript').innerText")
    check("without JavaScript the text is there", "You can go back to any moment from" not in text or told["backups"][0]["id"] not in text or hostile not in text)
