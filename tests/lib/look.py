"""look.py - scripts that judge the status page and the report in a browser."""

# What is in the page, as far as an eye can judge it.
LOOK = """
(() => {
	const wrong = { outside: [], contrast: [] }, width = document.documentElement.clientWidth;
	const rgb = text => { const m = text.match(/[\\d.]+/g).map(Number); return { c: m.slice(0, 3), a: m.length > 3 ? m[3] : 1 }; };
	const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const over = (top, c) => top.c.map((v, i) => v * top.a + c[i] * (1 - top.a));
	const behind = e => { const list = []; for (; e; e = e.parentElement) { const b = rgb(getComputedStyle(e).backgroundColor); if (b.a > 0) list.push(b); if (b.a === 1) break; }
		return list.reverse().reduce((c, top) => over(top, c), [255, 255, 255]); };
	const faint = e => { let o = 1; for (; e; e = e.parentElement) o *= Number(getComputedStyle(e).opacity); return o; };
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let seen = 0;
	for (let n; (n = walk.nextNode());) {
		const e = n.parentElement, style = getComputedStyle(e);
		if (!n.data.trim() || e.closest("script, title, .out, .skip, thead[hidden]") || style.visibility !== "visible" || !e.getClientRects().length) continue;
		if (e.closest("thead") && getComputedStyle(e.closest("thead")).position === "absolute") continue;
		const range = document.createRange();
		range.selectNodeContents(n);
		const boxes = [...range.getClientRects()].filter(r => r.width > 0), box = e.closest("section"), inside = box && box.getBoundingClientRect();
		seen++;
		for (const r of boxes) if (r.left < -.5 || r.right > width + .5 || (inside && (r.left < inside.left + 1 || r.right > inside.right - 1)))
			wrong.outside.push(`"${n.data.trim().slice(0, 40)}" from ${Math.round(r.left)} to ${Math.round(r.right)} of ${width}`);
		const text = rgb(e.namespaceURI.endsWith("svg") ? style.fill : style.color), back = behind(e.namespaceURI.endsWith("svg") ? e.closest("svg").parentElement : e);
		text.a *= faint(e);
		const [a, b] = [light(over(text, back)), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
		if (ratio < 4.5) wrong.contrast.push(`"${n.data.trim().slice(0, 40)}" ${ratio.toFixed(2)}: ${text.c} on ${back.map(Math.round)}`);
	}
	for (const e of document.querySelectorAll("svg *, .track, .chip, td, button")) {
		const r = e.getBoundingClientRect();
		if (r.width && (r.left < -.5 || r.right > width + .5)) wrong.outside.push(`<${e.nodeName} class=${e.getAttribute("class")}> from ${Math.round(r.left)} to ${Math.round(r.right)}`);
	}
	if (document.documentElement.scrollWidth > width) wrong.outside.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${width}`);
	if (seen < 20) wrong.outside.push(`only ${seen} texts`);
	return wrong;
})()
"""

ROWS = "(id => [...document.querySelectorAll(`#${id} tbody tr`)].map(tr => Object.fromEntries([...tr.cells].map(td => [td.dataset.label, td.innerText.trim()]))))"
