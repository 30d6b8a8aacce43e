// Keeps the page up to date, and filters and sorts without leaving it. The page is whole without this.
// Comes in: the same page again, from the server. Goes out: the sections with the class "live", replaced
// where they differ. Never: a figure made here; a section replaced while its text is selected.
"use strict";

const every = Number(document.body.dataset.refresh) * 1000;
const clock = document.getElementById("clock"); // for the eye: it changes with each refresh
const news = document.getElementById("news"); // for the ear: what is not as it should be
const pause = document.getElementById("pause");
const form = document.getElementById("filter");
let asked = 0; // the newest request: answers to older ones are dropped
let timer;

const isPaused = () => pause.getAttribute("aria-pressed") === "true";

const say = (text, late) => {
  clock.textContent = text;
  clock.classList.toggle("late", late);
  const heard = late ? text : isPaused() ? "paused" : "";
  if (news.textContent !== heard) news.textContent = heard;
};

// What has the focus, found again in the replaced section by its id, label or address.
const focusOf = (section) => {
  const on = document.activeElement;
  if (!section.contains(on) || on === section) return null;
  const label = on.getAttribute("aria-label");
  if (on.id) return (within) => within.querySelector("#" + CSS.escape(on.id));
  if (label) return (within) => within.querySelector(`[aria-label="${CSS.escape(label)}"]`);
  const [href, word] = [on.getAttribute("href"), on.firstChild?.textContent];
  // After a click on a heading its address is another one, its word the same.
  return (within) => {
    const links = [...within.querySelectorAll("a[href]")];
    return links.find((a) => a.getAttribute("href") === href) || links.find((a) => a.firstChild?.textContent === word);
  };
};

const isSelected = (section) => {
  const selection = document.getSelection();
  return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(section);
};

const replace = (fresh) => {
  for (const section of document.querySelectorAll(".live")) {
    const next = fresh.getElementById(section.id);
    if (!next || next.innerHTML === section.innerHTML || isSelected(section)) continue;
    const [find, left] = [focusOf(section), section.querySelector(".scroll")?.scrollLeft];
    section.className = next.className;
    section.replaceChildren(...next.childNodes);
    if (left) section.querySelector(".scroll").scrollLeft = left;
    if (find) find(section)?.focus({ preventScroll: true });
  }
};

// Sections that come or go make it another page.
const shape = (page) => [...page.querySelectorAll("section")].map((section) => section.id).join();

const load = async () => {
  const mine = ++asked;
  clearTimeout(timer);
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(10000) }).catch(() => {
      throw new Error("the exporter does not answer");
    });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== asked) return;
    if (!fresh.querySelector("main")) throw new Error(`the exporter answers ${answer.status}`);
    if (shape(fresh) !== shape(document)) return location.reload();
    replace(fresh);
    say(isPaused() ? "paused" : `updated ${new Date().toLocaleTimeString()}`, false);
  } catch (error) {
    if (mine === asked) say(`not updated: ${error.message}`, true);
  }
  if (mine === asked) plan();
};

const plan = () => {
  clearTimeout(timer);
  if (!isPaused() && !document.hidden) timer = setTimeout(load, every);
};

pause.hidden = false;
pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(!isPaused()));
  if (isPaused()) clearTimeout(timer);
  if (isPaused()) say("paused", false);
  else load();
});
document.addEventListener("visibilitychange", () => (document.hidden || isPaused() ? clearTimeout(timer) : load()));

// The form says what the address says.
const fill = () => {
  const asks = new URL(location.href).searchParams;
  for (const field of form?.elements ?? []) if (field.name) field.value = asks.get(field.name) ?? "";
};
window.addEventListener("popstate", () => {
  fill();
  load();
});

// Links within the table only change what it shows.
document.addEventListener("click", (event) => {
  const link = event.target.closest("#rows a[href^='?'], #rows a[href^='.']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  const address = new URL(link.href);
  address.hash = "";
  history.pushState(null, "", address);
  fill();
  load();
});

if (form) {
  let typing;
  const filter = () => {
    clearTimeout(typing);
    const address = new URL(location.href);
    // The order and the length of the page are the address's, not the form's.
    const kept = ["sort", "order", "rows"].map((key) => [key, address.searchParams.get(key) ?? ""]);
    const chosen = [...new FormData(form)].filter(([key]) => !kept.some(([name]) => name === key));
    address.search = new URLSearchParams([...kept, ...chosen].filter(([, value]) => value !== ""));
    address.hash = "";
    history.replaceState(null, "", address);
    load();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    filter();
  });
  form.addEventListener("change", filter);
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filter, 250);
  });
}

say("updates itself", false);
plan();
