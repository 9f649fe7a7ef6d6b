// Search over what search.js holds, and moments in words. Without this script every page can still be read.
"use strict";
(() => {
  const root = document.body.dataset.root;
  const query = document.getElementById("query");
  const results = document.getElementById("results");
  const count = document.getElementById("count");
  const MOST = 50;
  const known = (window.CATALOGUE || []).map(([kind, name, link, text, words]) => {
    const short = name.toLowerCase();
    return { kind, name, link, text, short, all: `${kind} ${short} ${text} ${words}`.toLowerCase() };
  });
  let chosen = -1;

  const rank = (entry, asked) => {
    const own = entry.short.split(".").pop();
    if (entry.short === asked || own === asked) return 0;
    if (entry.short.startsWith(asked) || own.startsWith(asked)) return 1;
    return entry.short.includes(asked) ? 2 : 3;
  };

  const find = (asked) => {
    const words = asked.split(/\s+/).filter(Boolean);
    const found = known.filter((entry) => words.every((word) => entry.all.includes(word)));
    return found.map((entry) => [rank(entry, asked), entry]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
  };

  const item = (entry, number) => {
    const line = document.createElement("li");
    line.id = `result-${number}`;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", "false");
    const anchor = document.createElement("a");
    anchor.href = root + entry.link;
    anchor.tabIndex = -1;
    for (const [kind, text] of [["mark", entry.kind], ["name", entry.name], ["text", entry.text]]) {
      const part = document.createElement("span");
      part.className = kind;
      part.textContent = text;
      anchor.append(part, " ");
    }
    line.append(anchor);
    return line;
  };

  const choose = (number) => {
    const lines = [...results.children];
    chosen = lines.length ? (number + lines.length) % lines.length : -1;
    lines.forEach((line, index) => line.setAttribute("aria-selected", String(index === chosen)));
    if (chosen < 0) query.removeAttribute("aria-activedescendant");
    else {
      query.setAttribute("aria-activedescendant", lines[chosen].id);
      lines[chosen].scrollIntoView({ block: "nearest" });
    }
  };

  const show = () => {
    const asked = query.value.trim().toLowerCase();
    const found = asked ? find(asked) : [];
    results.replaceChildren(...found.slice(0, MOST).map(item));
    results.hidden = !found.length;
    query.setAttribute("aria-expanded", String(!results.hidden));
    count.textContent = asked ? `${found.length} found` : "";
    choose(found.length ? 0 : -1);
    if (!found.length) chosen = -1;
  };

  const hide = () => {
    results.hidden = true;
    query.setAttribute("aria-expanded", "false");
  };

  query.addEventListener("input", show);
  query.addEventListener("focus", () => { if (query.value) show(); });
  query.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Escape") hide();
    else return;
    event.preventDefault();
  });
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const line = results.children[chosen];
    if (line) { hide(); window.location.href = line.firstChild.href; }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      query.focus();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#search")) hide();
  });

  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const time of document.querySelectorAll("time")) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) || units.at(-1);
    if (Number.isFinite(seconds)) time.title = words.format(Math.round(seconds / size), unit);
  }

  // A search that came with the address: index.html?q=amount
  const asked = new URLSearchParams(window.location.search).get("q");
  if (asked) { query.value = asked; query.focus(); show(); }
})();
