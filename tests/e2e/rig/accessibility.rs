//! What a page owes to those who cannot see it, cannot point, or see little: names, roles, order, contrast, room.
//!
//! Checked by what the browser itself makes of the page: its accessibility tree, computed styles, and the Tab key. It
//! finds what a machine can find; whether a name is a good one it cannot tell.

use serde_json::{Value, json};

use super::browser::{Look, Tab};

/// Roles that somebody acts on, and that are nothing without a name.
const NAMED: &[&str] = &[
    "alertdialog",
    "button",
    "checkbox",
    "combobox",
    "dialog",
    "heading",
    "link",
    "listbox",
    "menuitem",
    "navigation",
    "radio",
    "region",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
];

impl Tab {
    /// Fails with all that is wrong with the page as it is now, in light and dark and at phone width.
    pub(crate) async fn must_be_accessible(&self, what: &str) {
        let mut faults = self.nameless().await;
        for look in [Look::Light, Look::Dark, Look::Phone] {
            self.look(look).await;
            let found = self.eval(&format!("({FAULTS})()")).await;
            let found = found.as_array().expect("a list").iter();
            faults.extend(found.map(|fault| format!("{look:?}: {}", fault.as_str().expect("text"))));
        }
        self.unlook().await;
        faults.extend(self.lost_with_the_tab_key().await);
        assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
    }

    /// What the browser tells a screen reader, where it has no name for it.
    async fn nameless(&self) -> Vec<String> {
        let tree = self.call("Accessibility.getFullAXTree", json!({})).await;
        let text = |node: &Value, part: &str| node[part]["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().expect("a tree").iter().filter(|node| node["ignored"] != true);
        let bare = nodes
            .filter(|node| NAMED.contains(&&*text(node, "role")) && text(node, "name").trim().is_empty());
        bare.map(|node| format!("a {} without a name: {}", text(node, "role"), node["backendDOMNodeId"]))
            .collect()
    }

    /// Goes once through the page by the Tab key: every stop in the page's order, to be seen, and none left out.
    async fn lost_with_the_tab_key(&self) -> Vec<String> {
        let stops = self.eval(&format!("({STOPS})()")).await.as_u64().expect("a number");
        let mut faults = Vec::new();
        for stop in 0..stops {
            self.press("Tab").await;
            let fault = self.eval(&format!("({AT_STOP})({stop})")).await;
            faults.extend(fault.as_str().map(str::to_owned));
        }
        faults
    }
}

/// Numbers what can be reached, in the order of the document; an open question hides the rest.
const STOPS: &str = "() => {
    const shown = e => e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
    const within = document.querySelector('[aria-modal=true]') || document;
    const one = name => within.querySelector(`input[type=radio][name='${name}']:checked`);
    const stops = [...within.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(e => shown(e)
        && !e.disabled && e.tabIndex >= 0 && (e.type !== 'radio' || e === one(e.name)));
    stops.forEach((e, index) => e.dataset.stop = index);
    if (within === document && document.activeElement) document.activeElement.blur();
    document.body.tabIndex = -1;
    if (within === document) { document.body.focus(); document.getSelection().removeAllRanges(); scrollTo(0, 0); }
    else stops[stops.length - 1].focus();
    return stops.length;
}";

/// What is wrong with where the focus is, which should be at the stop of this number.
const AT_STOP: &str = "(number) => {
    const e = document.activeElement, style = getComputedStyle(e);
    const name = e.outerHTML.slice(0, 80);
    if (e.dataset.stop !== String(number)) return `Tab ${number} leads to ${name}`;
    if (style.outlineStyle === 'none' && style.boxShadow === 'none') return `nothing shows the focus on ${name}`;
    const r = e.getBoundingClientRect();
    if (r.bottom <= 0 || r.right <= 0 || r.top >= innerHeight || r.left >= innerWidth) return `out of sight: ${name}`;
    return null;
}";

/// All that can be read from the document and its styles.
const FAULTS: &str = "() => {
    const faults = [], all = [...document.querySelectorAll('*')];
    const shown = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible';
    const name = e => e.outerHTML.slice(0, 90);
    if (!document.documentElement.lang) faults.push('the language is not told');
    if (!document.title.trim()) faults.push('no title');
    for (const one of ['main', 'h1'])
        if ([...document.querySelectorAll(one)].filter(shown).length !== 1) faults.push(`not one ${one}`);
    let level = 0;
    for (const h of [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].filter(shown)) {
        const own = Number(h.tagName[1]);
        if (own > level + 1) faults.push(`a heading skips a level: ${name(h)}`);
        level = own;
    }
    const ids = all.map(e => e.id).filter(Boolean);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`two have the id ${id}`);
    for (const e of all) {
        for (const attribute of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for'])
            for (const id of (e.getAttribute(attribute) || '').split(/\\s+/).filter(Boolean))
                if (!ids.includes(id)) faults.push(`${attribute} names nothing: ${name(e)}`);
        if (e.tabIndex > 0) faults.push(`an order of its own: ${name(e)}`);
        if (['UL', 'OL'].includes(e.tagName) && [...e.children].some(c => c.tagName !== 'LI')) faults.push(`not a list: ${name(e)}`);
        if (e.tagName === 'IMG' && !e.hasAttribute('alt')) faults.push(`a picture without words: ${name(e)}`);
        if (e.tagName === 'svg' && shown(e) && !e.closest('[aria-hidden=true]')) faults.push(`a drawing read aloud: ${name(e)}`);
        if (['INPUT', 'SELECT', 'TEXTAREA'].includes(e.tagName) && shown(e) && !e.closest('[aria-hidden=true]') && !(e.labels && e.labels.length) && !e.getAttribute('aria-label'))
            faults.push(`a field without a label: ${name(e)}`);
        if (['BUTTON', 'INPUT', 'SELECT', 'TEXTAREA', 'SUMMARY'].includes(e.tagName) && shown(e) && !e.closest('[aria-hidden=true]') && e.type !== 'radio' && e.type !== 'checkbox') {
            const r = e.getBoundingClientRect();
            if (r.width < 24 || r.height < 24) faults.push(`too small for a finger: ${name(e)}`);
        }
    }
    if (document.documentElement.scrollWidth > innerWidth) faults.push(`wider than the window: ${document.documentElement.scrollWidth}`);

    // WCAG 2.2, 1.4.3: what colour text has, on what colour.
    const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
    const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
    const behind = e => {
        const layers = [];
        for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); layers.push(c); if (c[3] === 1) break; }
        return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
    };
    const light = c => c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const modal = document.querySelector('[aria-modal=true]');
    while (walker.nextNode()) {
        const e = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !shown(e) || (modal && !modal.contains(e)) || e.closest(':disabled, [aria-disabled=true], noscript')) continue;
        const style = getComputedStyle(e), under = behind(e), ink = over(parse(style.color), under);
        const [a, b] = [light(ink), light(under)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
        const size = parseFloat(style.fontSize), big = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        if (ratio < (big ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${walker.currentNode.data.trim().slice(0, 40)}`);
    }
    return [...new Set(faults)];
}";
