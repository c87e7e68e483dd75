// Keeps pages up to date and adds keys. Every page works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = localStorage.getItem("theme");
  if (stored) root.dataset.theme = stored;

  document.addEventListener("DOMContentLoaded", () => {
    for (const hidden of document.querySelectorAll("[data-theme-toggle],[data-help],[data-filter-input],.follow")) hidden.hidden = false;
    theme();
    help();
    filter();
    keys();
    live();
    log();
    clock();
  });

  function toggleTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  }

  function theme() {
    document.querySelector("[data-theme-toggle]")?.addEventListener("click", toggleTheme);
  }

  function help() {
    const dialog = document.getElementById("help");
    document.querySelector("[data-help]")?.addEventListener("click", () => dialog.showModal());
  }

  // Rows and cards whose text holds every word of the filter.
  function applyFilter() {
    const input = document.querySelector("[data-filter-input]");
    if (!input) return;
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of document.querySelectorAll("[data-filter]")) {
      const text = item.dataset.filter.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
    }
  }

  function filter() {
    const input = document.querySelector("[data-filter-input]");
    input?.addEventListener("input", applyFilter);
  }

  function keys() {
    let before = "";
    addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input:not([type=checkbox]),textarea,select");
      if (event.key === "Escape" && typing) return typing.blur();
      if (typing || event.metaKey || event.ctrlKey || event.altKey) return;
      const goes = before === "g";
      before = event.key;
      if (goes) {
        const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
        if (link) link.click();
        return;
      }
      if (event.key === "/") {
        const input = document.querySelector("[data-filter-input]");
        if (input) { event.preventDefault(); input.focus(); }
      } else if (event.key === "j" || event.key === "k") {
        const links = [...document.querySelectorAll(".row-link")].filter((link) => link.offsetParent);
        const at = links.indexOf(document.activeElement);
        const next = event.key === "j" ? at + 1 : Math.max(at - 1, 0);
        links[Math.min(next, links.length - 1)]?.focus();
      } else if (event.key === "u") {
        document.querySelector("[data-up]")?.click();
      } else if (event.key === "t") {
        toggleTheme();
      } else if (event.key === "?") {
        document.getElementById("help")?.showModal();
      }
    });
  }

  // Parts of the page that differ from what the server has now are replaced; what the user opened stays open.
  let loading = false, again = false;
  async function reload() {
    if (loading) { again = true; return; }
    if (document.querySelector("details.menu[open]")) { setTimeout(reload, 1000); return; }
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-part]")) {
        const other = fresh.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
        if (!other || other.outerHTML === part.outerHTML) continue;
        for (const kept of part.querySelectorAll("details[data-keep]")) {
          const same = other.querySelector(`details[data-keep="${CSS.escape(kept.dataset.keep)}"]`);
          if (same) same.open = kept.open;
        }
        const focused = document.activeElement?.getAttribute?.("href");
        const had = part.contains(document.activeElement);
        part.replaceWith(other);
        if (had && focused) other.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      }
      applyFilter();
    } catch { /* the stream tells when the server is back */ } finally {
      loading = false;
      if (again) { again = false; setTimeout(reload, 150); }
    }
  }

  function live() {
    const watch = (document.body.dataset.watch || "").split(" ").filter(Boolean);
    const sign = document.querySelector("[data-live]");
    if (!sign) return;
    const matches = (key) => watch.some((want) => want.endsWith("*") ? key.startsWith(want.slice(0, -1)) : want === key);
    const show = (on) => { sign.dataset.live = on ? "on" : "off"; sign.querySelector(".word").textContent = on ? "live" : "offline"; };
    let timer = 0, lost = false;
    const source = new EventSource("/events");
    source.addEventListener("open", () => { show(true); if (lost) reload(); lost = false; });
    source.addEventListener("error", () => { show(false); lost = true; });
    source.addEventListener("change", (event) => {
      if (!matches(event.data)) return;
      // Changes that follow one another do not put the reload off.
      timer ||= setTimeout(() => { timer = 0; reload(); }, 120);
    });
    addEventListener("pagehide", () => source.close());
    // Durations of what runs move on between changes.
    setInterval(() => { if (!document.hidden && document.querySelector(".icon.busy")) reload(); }, 5000);
  }

  function log() {
    const box = document.querySelector(".log");
    if (!box) return;
    const follow = document.querySelector("[data-follow]");
    const down = () => { if (follow?.checked) box.scrollTop = box.scrollHeight; };
    box.addEventListener("scroll", () => {
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      if (follow && follow.checked && !atEnd) follow.checked = false;
      else if (follow && atEnd && box.dataset.log) follow.checked = true;
    });
    if (!box.dataset.log) { follow?.closest(".follow").remove(); return; }
    down();
    let from = box.dataset.log;
    const open = () => {
      const source = new EventSource(from);
      source.addEventListener("lines", (event) => {
        box.insertAdjacentHTML("beforeend", event.data);
        from = from.replace(/from=\d+/, `from=${event.lastEventId}`);
        down();
      });
      source.addEventListener("end", () => { source.close(); follow?.closest(".follow").remove(); reload(); });
      source.addEventListener("error", () => { source.close(); setTimeout(open, 1500); });
      addEventListener("pagehide", () => source.close());
    };
    open();
  }

  // "3 min ago" stays true.
  function clock() {
    const words = (ms) => {
      const s = Math.max(0, Math.floor(ms / 1000));
      if (s < 10) return "just now";
      if (s < 60) return `${s} s ago`;
      if (s < 3600) return `${Math.floor(s / 60)} min ago`;
      if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
      return `${Math.floor(s / 86400)} d ago`;
    };
    setInterval(() => {
      for (const time of document.querySelectorAll("time[datetime]")) {
        const text = words(Date.now() - Date.parse(time.dateTime));
        if (time.textContent !== text) time.textContent = text;
      }
    }, 5000);
  }
})();
