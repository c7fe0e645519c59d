// Reading a transcript along with its recording. The server sends lines of plain text; words are elements
// only while their line is near the window, so that a transcript of three hours opens and scrolls at once.

const list = document.querySelector("[data-transcript]");
const player = document.querySelector("[data-player]");
const media = player?.querySelector("audio, video") ?? null;
if (list) start();

function start() {
  let lines = [...list.children];
  let starts = lines.map((line) => Number(line.dataset.start));
  let spokenLine = null;
  let spokenWord = null;
  const speed = player?.querySelector("[data-speed]");
  const follow = player?.querySelector("[data-follow]");
  const finder = player?.querySelector("[data-find]");
  for (const tools of document.querySelectorAll("[data-needs-script]")) tools.hidden = false;

  // --- Words -----------------------------------------------------------------------------------------

  function makeWords(line) {
    const text = line.querySelector("p[data-words]");
    if (!text || text.firstElementChild) return;
    const whole = text.textContent;
    const from = Number(line.dataset.start);
    const parts = [];
    let at = 0;
    for (const entry of text.dataset.words.split(" ").filter(Boolean)) {
      const [offset, length, begin, end, unsure] = entry.split(",").map(Number);
      if (offset > at) parts.push(whole.slice(at, offset));
      const word = document.createElement("span");
      word.textContent = whole.slice(offset, offset + length);
      word.start = from + begin;
      word.end = from + end;
      word.className = unsure ? "word unsure" : "word";
      parts.push(word);
      at = offset + length;
    }
    parts.push(whole.slice(at));
    text.replaceChildren(...parts);
  }

  function dropWords(line) {
    const text = line.querySelector("p[data-words]");
    if (!text?.firstElementChild || line === spokenLine || window.getSelection().containsNode(text, true)) return;
    text.textContent = text.textContent; // Its words, one after the other, are the line.
  }

  // Only once there is time: what a fast scroll passes by costs nothing.
  const whenIdle = window.requestIdleCallback ?? ((work) => window.setTimeout(work, 50));
  const passing = new Map(); // line -> whether it is near
  const near = new IntersectionObserver(
    (entries) => {
      if (!passing.size) whenIdle(settle, { timeout: 500 });
      for (const entry of entries) passing.set(entry.target, entry.isIntersecting);
    },
    { rootMargin: "400px" },
  );
  function settle() {
    for (const [line, isNear] of passing) (isNear ? makeWords : dropWords)(line);
    passing.clear();
  }
  for (const line of lines) near.observe(line);

  function replaceLine(line, html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("li");
    near.unobserve(line);
    line.replaceWith(fresh);
    near.observe(fresh);
    lines = [...list.children];
    starts = lines.map((each) => Number(each.dataset.start));
    makeWords(fresh);
    return fresh;
  }

  // --- Playing ---------------------------------------------------------------------------------------

  function lineAt(time) {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= time) low = middle;
      else high = middle - 1;
    }
    return lines[low] ?? null;
  }

  function hear(time) {
    if (!media) return;
    media.currentTime = time / 1000;
    media.play().catch(() => {}); // Refused before the first click on the page: then it only seeks.
  }

  function light() {
    const now = media.currentTime * 1000;
    const found = lineAt(now);
    const line = found && Number(found.dataset.start) <= now && now < Number(found.dataset.end) ? found : null;
    if (line !== spokenLine) {
      spokenLine?.classList.remove("spoken");
      line?.classList.add("spoken");
      spokenLine = line;
      if (line && follow?.checked && !media.paused && !document.querySelector(".editor")) {
        makeWords(line);
        line.scrollIntoView({ block: "center", behavior: "smooth" });
      }
    }
    const word = line ? [...line.querySelectorAll(".word")].find((each) => each.start <= now && now < each.end) : null;
    if (word === spokenWord) return;
    spokenWord?.classList.remove("now");
    word?.classList.add("now");
    spokenWord = word ?? null;
  }

  if (media) {
    let frame = 0;
    const loop = () => {
      light();
      frame = media.paused ? 0 : requestAnimationFrame(loop);
    };
    media.addEventListener("play", () => {
      if (!frame) frame = requestAnimationFrame(loop);
    });
    for (const kind of ["seeked", "timeupdate", "pause"]) media.addEventListener(kind, light);
    media.addEventListener("error", () => {
      player.querySelector("[data-unplayable]").hidden = false;
    });
    speed?.addEventListener("change", () => {
      media.playbackRate = Number(speed.value);
    });
  }

  list.addEventListener("click", (event) => {
    const line = event.target.closest("li");
    const edit = event.target.closest("[data-edit]");
    const who = event.target.closest(".who");
    if (edit) {
      event.preventDefault();
      openEditor(line);
    } else if (who) {
      const field = document.getElementById(who.hash.slice(1));
      if (!field) return;
      event.preventDefault();
      field.focus();
      field.select();
    } else if (event.target.closest(".at")) {
      event.preventDefault();
      hear(Number(line.dataset.start));
    } else if (event.target.matches(".word") && window.getSelection().isCollapsed) {
      hear(event.target.start);
    }
  });

  // --- Correcting ------------------------------------------------------------------------------------

  const template = document.querySelector("[data-editor]");

  function openEditor(line) {
    if (!template || !line) return;
    closeEditor();
    const text = line.querySelector("p");
    const form = template.content.firstElementChild.cloneNode(true);
    const area = form.querySelector("textarea");
    const machine = line.querySelector("[data-machine-text]")?.dataset.machineText;
    area.value = text.textContent;
    form.querySelector("[data-machine]").hidden = machine === undefined;
    form.querySelector("[data-machine]").addEventListener("click", () => {
      area.value = machine;
      area.focus();
    });
    form.querySelector("[data-cancel]").addEventListener("click", () => closeEditor());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      event.stopPropagation();
      save(line, form, area.value);
    });
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
      else if (event.key === "Escape") closeEditor();
    });
    text.hidden = true;
    text.after(form);
    area.rows = Math.max(2, Math.ceil(area.value.length / 60));
    area.focus();
  }

  function closeEditor() {
    const form = list.querySelector("form.editor");
    if (!form) return;
    const line = form.closest("li");
    form.remove();
    line.querySelector("p").hidden = false;
    line.querySelector("[data-edit]")?.focus();
  }

  async function save(line, form, text) {
    const button = form.querySelector(".primary");
    const refused = form.querySelector(".errorlist");
    button.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(list.dataset.lines.replace(/0\/$/, `${line.querySelector("[data-edit]").dataset.edit}/`), {
        method: "POST",
        headers: { "HX-Request": "true", "X-CSRFToken": csrfToken() },
        body: new URLSearchParams({ text }),
      });
      const answer = await response.text();
      if (response.ok && !response.redirected) {
        replaceLine(line, answer).querySelector("[data-edit]").focus();
        return;
      }
      refused.textContent = response.status === 422 ? answer : list.dataset.wordsFailed;
    } catch {
      refused.textContent = list.dataset.wordsFailed;
    }
    refused.hidden = false;
    button.removeAttribute("aria-busy");
  }

  const csrfToken = () => document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";

  // --- Finding ---------------------------------------------------------------------------------------

  let hits = [];
  let hit = -1;

  function find(words) {
    for (const line of list.querySelectorAll(".hit")) line.classList.remove("hit", "at-hit");
    const wanted = words.trim().toLocaleLowerCase();
    hits = wanted ? lines.filter((line) => textOf(line).includes(wanted)) : [];
    for (const line of hits) line.classList.add("hit");
    hit = -1;
    finder.querySelector("output").textContent = wanted ? `0/${hits.length}` : "";
  }

  const textOf = (line) => line.querySelector("p").textContent.toLocaleLowerCase();

  function nextHit() {
    if (!hits.length) return;
    hits[hit]?.classList.remove("at-hit");
    hit = (hit + 1) % hits.length;
    hits[hit].classList.add("at-hit");
    if (follow) follow.checked = false;
    hits[hit].scrollIntoView({ block: "center" });
    finder.querySelector("output").textContent = `${hit + 1}/${hits.length}`;
  }

  finder?.addEventListener("input", (event) => event.target.matches("input") && find(event.target.value));
  finder?.addEventListener("submit", (event) => {
    event.preventDefault();
    nextHit();
  });

  // --- Keys ------------------------------------------------------------------------------------------

  const shortcuts = document.querySelector("[data-shortcut-list]");
  player?.querySelector("[data-shortcuts]")?.addEventListener("click", () => shortcuts.showModal());

  function step(by) {
    // By the clock, which is ahead of what is lit while a seek is under way: keys may come fast.
    const here = lines.indexOf(lineAt((media?.currentTime ?? 0) * 1000));
    const line = lines[Math.min(Math.max(here + by, 0), lines.length - 1)];
    if (!line) return;
    if (media) media.currentTime = Number(line.dataset.start) / 1000 + 0.001;
    line.scrollIntoView({ block: "center" });
  }

  function faster(by) {
    if (!speed) return;
    speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + by, 0), speed.options.length - 1);
    speed.dispatchEvent(new Event("change"));
  }

  const keys = {
    k: () => media && (media.paused ? media.play() : media.pause()),
    j: () => media && (media.currentTime -= 5),
    l: () => media && (media.currentTime += 5),
    ArrowUp: () => step(-1),
    ArrowDown: () => step(1),
    ",": () => faster(-1),
    ".": () => faster(1),
    e: () => openEditor(spokenLine ?? lineAt((media?.currentTime ?? 0) * 1000)),
    "/": () => finder?.querySelector("input").focus(),
    "?": () => shortcuts?.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, audio, video, dialog[open], [contenteditable]")) return;
    const act = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // --- Opened at a moment: ?t=<ms>, as search results lead here ----------------------------------------

  const wanted = new URLSearchParams(window.location.search);
  if (wanted.has("t")) {
    const time = Number(wanted.get("t"));
    const line = lineAt(time);
    if (line) {
      line.classList.add("at-hit");
      line.scrollIntoView({ block: "center" });
      if (media) {
        const seek = () => {
          media.currentTime = time / 1000;
        };
        if (media.readyState > 0) seek();
        else media.addEventListener("loadedmetadata", seek, { once: true });
      }
    }
  }
  if (wanted.get("find") && finder) {
    finder.querySelector("input").value = wanted.get("find");
    find(wanted.get("find"));
  }
}
