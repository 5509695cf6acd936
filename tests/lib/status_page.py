"""status_page.py - look at the status page as a person would, and say what is wrong with it.

    status_page.py STAGE URL DIRECTORY

Prints "0 what" for what is as it should be and "1 what" for what is not, with the reason on stderr.  Pictures go into the
directory.  The stages: empty (no backup yet), full (everything there is), progress (a job runs), silent (the daemon, whose
pid is in $DAEMON, is stopped and ended).  SQL is asked through psql, the command line through $MB.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

from browser import Browser
from look import LOOK, ROWS

stage, url, directory = sys.argv[1:4]
ZONE = "Europe/Berlin"


def check(what, wrong):
    """wrong: what is wrong, as anything that is true."""
    print(f"{int(bool(wrong))} {what}", flush=True)
    if wrong:
        for line in (wrong if isinstance(wrong, list) else [wrong])[:12]:
            print(f"#   {line}", file=sys.stderr)


def sql(statement):
    return json.loads(subprocess.run(["psql", "-XqAt", "-c", f"SELECT coalesce(json_agg(q), '[]') FROM ({statement}) q"], check=True, capture_output=True, text=True).stdout)


def rows(page, section):
    page.value(f"document.querySelector('#{section} button[aria-expanded=false]')?.click()")
    return page.value(f"{ROWS}('{section}')")


def ready(browser, **how):
    page = browser.page(zone=ZONE, **how)
    page.go(url)
    if not page.wait("document.body.classList.contains('is-ready')"):
        check("the page gets an answer", page.said or "nothing was said")
    page.listen(0.5)
    return page


def same(what, shown, told, seconds=15):
    """Both sides are asked until they agree: the page is up to six seconds behind the database."""
    until = time.time() + seconds
    while True:
        a, b = shown(), told()
        if a == b or time.time() > until:
            return check(what, a != b and [f"page: {a}", f"told: {b}"])
        time.sleep(0.5)


# -- the stages ----------------------------------------------------------------------------------------


def empty(browser):
    page = ready(browser)
    check("without a backup it says so, and what to do", "Nothing can be restored yet" not in page.value("document.querySelector('#hero').innerText")
          or "mbackup backup" not in page.value("document.querySelector('#hero').innerText"))
    check("every empty section says what would fill it",
          [s for s in ("backups", "marks", "schedules") if not page.value(f"Boolean(document.querySelector('#{s} .empty code'))")])
    found = page.value(LOOK)
    check("nothing is outside, nothing is faint", found["outside"] + found["contrast"])
    check("nothing is complained about", page.said)


def contents(page):
    cli = subprocess.run([*os.environ["MB"].split(), "list"], capture_output=True, text=True).stdout
    listed = [[re.split(r"  +", line.strip())[i] for i in (0, 1, 2)] + re.findall(r"[\d.]+ [KMGT]?i?B", line) for line in cli.split("\n\n")[0].splitlines()[1:]]
    listed = sorted(([x[0].split()[0], *re.split(r" +", " ".join(x[0:3]))[1:3], *x[3:]] for x in listed), reverse=True)
    same("backups: the words and numbers of \"mbackup list\"", lambda: sorted(([r["Id"], r["Type"], r["Status"], r["Size"], r["Stored"]] for r in rows(page, "backups")), reverse=True), lambda: listed)
    same("marks: the names of SQL, whatever is in them", lambda: [[r["Mark"], r["Consistency"]] for r in rows(page, "marks")],
         lambda: [[m["name"], m["c"]] for m in sql("SELECT name, cut ->> 'consistency' AS c FROM mbackup.mark_table ORDER BY taken DESC")])
    same("jobs: those of SQL, with how they ended", lambda: [[r["Job"], r["Kind"].split()[0], r["State"]] for r in rows(page, "jobs")],
         lambda: [[str(j["id"]), j["kind"], j["state"]] for j in sql("SELECT id, kind, state FROM mbackup.job_table ORDER BY id DESC LIMIT 50")])
    same("... and why", lambda: sorted(r["What happened"].split("\n")[0] for r in rows(page, "jobs") if r["State"] == "failed"),
         lambda: sorted(j["m"] for j in sql("SELECT error ->> 'message' AS m FROM mbackup.job_table WHERE state = 'failed'")))
    same("components: the windows of SQL, in the viewer's zone", lambda: sorted([r["Component"], r["Restorable from"], r["Gaps"]] for r in rows(page, "components")),
         lambda: sorted([w["component"], w["s"], str(w["g"])] for w in sql(f"SELECT component, to_char(starts AT TIME ZONE '{ZONE}', 'YYYY-MM-DD HH24:MI:SS') AS s, jsonb_array_length(gaps) AS g FROM mbackup.window_table")))
    same("schedules", lambda: [[r["Schedule"], r["Runs"], r["When"], r["Missed"]] for r in rows(page, "schedules")],
         lambda: [[s["name"], s["policy"], f"{s['cron']} ({s['time_zone']})", str(s["missed"])] for s in sql("SELECT name, policy, cron, time_zone, missed FROM mbackup.schedule_table ORDER BY name")])
    same("problems, with what to do", lambda: sorted(page.value("[...document.querySelectorAll('.problems .what')].map(p => p.innerText)")),
         lambda: sorted(f"{'Failed' if p['severity'] == 'failed' else 'Warning'}: {p['component']} \u00b7 {p['name']}" for p in sql("SELECT * FROM mbackup.problem_table")))
    check("... each with a fix", page.value("document.querySelectorAll('.problems li').length") != page.value("document.querySelectorAll('.problems .fix').length"))
    gaps = sql("SELECT sum(jsonb_array_length(gaps)) AS n FROM mbackup.window_table")[0]["n"]
    check("the time line shows every gap, backup and mark",
          [f"{what}: {shown}, {told}" for what, shown, told in (
              ("gaps", page.value("document.querySelectorAll('#timeline-svg .gap').length"), gaps),
              ("windows", page.value("document.querySelectorAll('#timeline-svg .window').length"), len(sql("SELECT FROM mbackup.window_table WHERE starts IS NOT NULL"))),
              ("marks", page.value("document.querySelectorAll('#timeline-svg .diamond').length"), len(sql("SELECT FROM mbackup.mark_table"))))
           if shown != told] or (gaps < 1 and "there is no gap to show"))
    check("... and the text beside it says the same", page.value("document.querySelectorAll('#timeline-text li').length") != len(sql("SELECT FROM mbackup.mark_table")) + len(sql("SELECT FROM mbackup.window_table"))
          or "gaps: " not in page.value("document.querySelector('#timeline-text').textContent"))


def harmless(page):
    check("no name has become markup", page.value("[window.hacked, document.images.length, document.scripts.length, document.querySelectorAll('iframe, #backups b, #marks b, #jobs b, [onerror]').length].join()") != ",0,1,0")
    check("it asks for nothing but itself and the document", sorted(set(page.asked) - {url, url + "status.json"}))
    check("nothing is complained about in the console", page.said)
    page.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))")
    check("... and its policy would not run a script that somebody slips in", page.value("window.hacked") == 1 or not page.said)


def structure(page):
    check("landmarks, one first heading, a language and a title", page.value("""
        [document.querySelectorAll('header, main, footer').length === 3, document.querySelectorAll('h1').length === 1, document.documentElement.lang === 'en', /mbackup on/.test(document.title)].includes(false)"""))
    check("every table has a caption and headers", page.value("""
        [...document.querySelectorAll('table')].filter(t => !t.caption || [...t.tHead.rows[0].cells].some(c => c.nodeName !== 'TH' || c.scope !== 'col')).length || document.querySelectorAll('table').length < 5"""))
    check("every section is named by its heading", page.value("[...document.querySelectorAll('section[aria-labelledby]')].filter(s => !document.getElementById(s.getAttribute('aria-labelledby'))).length"))
    check("the picture has a name", page.value("!document.querySelector('#timeline-svg svg[role=img]')?.getAttribute('aria-label')"))
    ids = page.value("(ids => ids.filter((id, i) => ids.indexOf(id) !== i))([...document.querySelectorAll('[id]')].map(e => e.id))")
    check("every id is there once", ids)


def keyboard(page):
    page.value("document.activeElement.blur(); window.scrollTo(0, 0); window.stops = []")
    total = page.value("document.querySelectorAll('a, button, time, input:checked').length")
    lost = []
    for _ in range(total + 3):
        page.key("Tab")
        got = page.value("""(e => {
            if (!e || e === document.body) return null;
            window.stops.push(e);
            const ring = e.matches('input') ? e.parentElement : e, style = getComputedStyle(ring);
            return { name: e.nodeName + ' ' + (e.innerText || e.value), ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, utc: e.nodeName !== 'TIME' || getComputedStyle(e, '::after').content.includes('UTC') && getComputedStyle(e, '::after').display !== 'none',
                wide: document.documentElement.scrollWidth > document.documentElement.clientWidth };
        })(document.activeElement)""")
        if got and (not got["ring"] or not got["utc"] or got["wide"]):
            lost.append(got)
    check("Tab shows where it is, and of a time its UTC", lost)
    missed = page.value("[...document.querySelectorAll('a, button, time, input:checked')].filter(e => e.getClientRects().length && !window.stops.includes(e)).map(e => e.nodeName + ' ' + e.innerText)")
    check(f"Tab reaches all that can be used ({total})", missed if total > 20 else f"only {total} stops")
    page.value("document.querySelector('#span input:checked').focus()")
    before = page.value("document.querySelector('#timeline-svg svg').innerHTML")
    page.key("ArrowLeft")
    check("the arrow keys choose the span of the time line", page.value("document.querySelector('#span input:checked').value") != "168" or page.value("document.querySelector('#timeline-svg svg').innerHTML") == before)
    page.value("window.kept = document.querySelector('#backups time'); window.kept.focus()")
    asked = len(page.asked)
    page.listen(5)
    check("the focus stays where it is while the page renews itself", page.value("document.activeElement !== window.kept || !window.kept.isConnected") or len(page.asked) < asked + 2)


def steady(browser):
    page = browser.page(zone=ZONE)
    page.call("Page.addScriptToEvaluateOnNewDocument", {"source": "window.shift = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) window.shift += e.value; }).observe({type: 'layout-shift', buffered: true});"})
    page.go(url)
    page.wait("document.body.classList.contains('is-ready')")
    page.listen(6)
    shift = page.value("window.shift")
    check(f"nothing jumps (layout shift {shift:.3f})", shift > 0.05)
    first = page.value("document.querySelector('#hero time').innerText + document.querySelector('#updated').innerText")
    page.listen(3)
    check("ages tick", page.value("document.querySelector('#hero time').innerText + document.querySelector('#updated').innerText") == first)


def full(browser):
    page = ready(browser)
    contents(page)
    harmless(page)
    structure(page)
    for width in (1280, 390, 320):
        for dark in (False, True):
            look = ready(browser, width=width, height=900 if width > 600 else 844, dark=dark)
            found = look.value(LOOK)
            name = f"{width} pixels, {'dark' if dark else 'light'}"
            check(f"{name}: everything is inside", found["outside"])
            check(f"{name}: every text has a contrast of 4.5", found["contrast"])
            look.picture(f"{directory}/{width}-{'dark' if dark else 'light'}.png")
            check(f"{name}: nothing is complained about", look.said)
            if width == 1280:
                backs = look.value("getComputedStyle(document.body).backgroundColor")
                check(f"{name}: {backs}", (int(backs[4:].split(',')[0]) < 128) != dark)
    keyboard(ready(browser))
    keyboard(ready(browser, width=390, height=844))
    steady(browser)
    page = ready(browser, reduced=True)
    check("who wants no motion gets none", page.value("(b => { b.className = 'track'; b.append(document.createElement('i')); document.body.append(b); return getComputedStyle(b.firstChild).transitionDuration; })(document.createElement('div'))") != "0s")
    # These looks must be able to find something.
    page.value("(e => { e.id = 'wide'; e.style.cssText = 'width: 3000px; color: #ccc; background: #fff'; e.textContent = 'x'.repeat(900); document.querySelector('#hero').append(e); })(document.createElement('p'))")
    found = page.value(LOOK)
    check("a text that is too wide and too faint would have been found", not found["outside"] or not found["contrast"])


def known(seconds):
    """Has the job that runs told how far it is?"""
    until = time.time() + seconds
    while time.time() < until:
        rows = subprocess.run(["psql", "-XqAt", "-c", "SELECT count(*) FROM mbackup.progress WHERE done_bytes > 0 AND total_bytes > 0"], capture_output=True, text=True)
        if rows.stdout.strip() not in ("", "0"):
            return True
        time.sleep(0.2)
    return False


def progress(browser):
    page = ready(browser, width=390, height=844)
    subprocess.run(["psql", "-XqAt", "-c", "SELECT mbackup.make_job('backup', '{\"type\": \"full\"}', 'mbtest', 'mbtest', NULL, NULL)"], check=True, capture_output=True)
    # Held in the middle, so that it is there to be looked at.
    until, held = time.time() + 20, []
    while not held and time.time() < until:
        held = subprocess.run(["pgrep", "-P", os.environ["DAEMON"], "-f", " backup .*--label"], capture_output=True, text=True).stdout.split()
    # On a slow machine it has not said anything by then: let it go on a little, and hold it again.
    for _ in range(20):
        time.sleep(0.8)
        for pid in held:
            os.kill(int(pid), signal.SIGSTOP)
        if known(4):
            break
        for pid in held:
            os.kill(int(pid), signal.SIGCONT)
    check("a job that runs shows how far it is", not page.wait("document.querySelector('#jobs [role=progressbar][aria-valuenow]')"))
    check("... in words too", not re.search(r"[\d.]+ [KMG]?i?B of [\d.]+ [KMG]iB", page.value("document.querySelector('#jobs .progress')?.innerText || ''")))
    found = page.value(LOOK)
    check("... inside and readable", found["outside"] + found["contrast"])
    page.picture(f"{directory}/progress.png")
    for pid in held:
        os.kill(int(pid), signal.SIGCONT)
    check("... and when it is done, that", not page.wait("!document.querySelector('#jobs [role=progressbar]')", 60))


def silent(browser):
    daemon = int(os.environ["DAEMON"])
    page = ready(browser)
    check("while the daemon answers there is no warning", page.value("!document.querySelector('#stale').hidden"))
    os.kill(daemon, signal.SIGSTOP)
    heard = page.wait("!document.querySelector('#stale').hidden", 20)
    os.kill(daemon, signal.SIGCONT)
    check("a daemon that hangs: the page says that it does not answer", not heard or "does not answer any more (no answer in time)" not in page.value("document.querySelector('#stale').innerText"))
    check("... and that it does again", not page.wait("document.querySelector('#stale').hidden", 20))
    os.kill(daemon, signal.SIGTERM)
    check("a daemon that is gone: it says that, and from when it is what one sees", not page.wait("/any more \\(no connection\\). What you see is from \\d{4}-/.test(document.querySelector('#stale').innerText)", 90))
    page.value("window.before = document.querySelector('#stale').innerText")
    page.listen(3)
    check("... once: what is spoken does not change each second", page.value("window.before !== document.querySelector('#stale').innerText"))
    check("... in the title too", page.value("document.title").find("No answer") < 0)
    found = page.value(LOOK)
    check("... readably", found["outside"] + found["contrast"])
    page.picture(f"{directory}/silent.png", height=600)


with Browser() as chromium:
    {"empty": empty, "full": full, "progress": progress, "silent": silent}[stage](chromium)
