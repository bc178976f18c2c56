// A log that is followed: while the page is on a screen, new rows of [data-follow] are put before those that are there.
const EVERY_MS = 2000;
const PATIENCE_MS = 30000;

const rows = document.querySelector("[data-follow]");
if (rows) {
  const [log, empty, follows] = ["log", "log-empty", "log-follows"].map((id) => document.getElementById(id));
  const problem = document.getElementById("log-problem");
  const [title, detail] = problem.querySelectorAll("span");
  const refused = title.textContent;
  const pause = document.querySelector("[data-pause]");
  let paused = false;
  let asking = false;
  let timer = null;

  function say(first, second = "") {
    const before = `${title.textContent}${detail.textContent}`;
    if (before !== first + second || problem.hidden !== !first) [title.textContent, detail.textContent] = [first, second];
    problem.hidden = !first;
    follows.hidden = Boolean(first) || paused;
  }

  function show(answer) {
    const found = document.createElement("table");
    found.innerHTML = answer;
    const fresh = found.querySelector("[data-follow]");
    rows.dataset.place = fresh.dataset.place;
    const reason = fresh.dataset.problem;
    say(reason ? refused : "", reason);
    rows.prepend(...fresh.rows);
    while (rows.rows.length > Number(rows.dataset.most)) rows.lastElementChild.remove();
    log.hidden = !rows.rows.length;
    empty.hidden = Boolean(rows.rows.length || reason);
  }

  async function ask() {
    timer = null;
    if (paused || asking || document.hidden) return;
    asking = true;
    try {
      const address = new URL(rows.dataset.follow, location.href);
      address.searchParams.set("after", rows.dataset.place);
      const headers = { "HX-Request": "true", "HX-Target": "tbody#rows" };
      const answer = await fetch(address, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.ok) show(await answer.text());
      else if (answer.status < 500 && answer.status !== 429) {
        paused = true; // signed out, not allowed, or no such node any more
        pause.hidden = true;
        say(problem.dataset.ended);
      } else say(problem.dataset.lost);
    } catch {
      say(problem.dataset.lost);
    }
    asking = false;
    later();
  }

  function later() {
    if (!paused) timer ??= setTimeout(ask, EVERY_MS);
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    follows.hidden = paused || !problem.hidden;
    if (!paused) ask();
  });
  document.addEventListener("visibilitychange", () => !document.hidden && ask());
  pause.hidden = false;
  follows.hidden = !problem.hidden;
  later();
}
