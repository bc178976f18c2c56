// Live updates: one stream of changes for all tabs. [data-live="node config"] with hx-trigger="live" is fetched again when
// such a thing has changed; "tick" comes every few seconds while the page is looked at, and "soon" more often.
//
// The tab that holds the lock has the stream and passes on what it hears, so that many tabs take one connection. What
// changed between the request for a page and its first message, the stream or that tab say first.
const EVERY_MS = 250;
const TICK_MS = 10000;
const SOON_MS = 2000;
const KEPT_MS = 10000; // of what was heard, for tabs that are just opened
const UNDER_WAY_MS = 1000;
const SILENT_MS = 12000; // a stream that has said nothing for so long is lost: a network that is gone tells nobody
const LOOK_MS = 2000;
const root = document.documentElement;
const address = root.dataset.stream;

const waiting = new Set();
let timer = null;
let state = "connecting";

function show(now) {
  state = now;
  root.dataset.live = now;
}

function refresh() {
  timer = null;
  if (document.hidden) return; // what waits is fetched when the page is looked at again
  const elements = [...document.querySelectorAll("[data-live]")];
  const due = elements.filter((each) => waiting.has("*") || each.dataset.live.split(" ").some((kind) => waiting.has(kind)));
  waiting.clear();
  for (const element of due) {
    // Nobody's typing, choosing or open menu is taken away.
    if (element.querySelector("dialog[open], form:focus-within, [popover]:popover-open")) waiting.add("*");
    else element.dispatchEvent(new CustomEvent("live"));
  }
  if (waiting.size) later(TICK_MS);
}

function later(ms) {
  timer ??= setTimeout(refresh, ms);
}

function changed(names) {
  for (const name of names) waiting.add(name);
  later(EVERY_MS);
}

function hold(channel, missed) {
  let stream = null;
  let spoke = 0;
  let recent = [];
  const since = (ms) => recent.filter(({ at }) => at > performance.now() - ms);
  const tell = (message) => {
    channel?.postMessage(message);
    if (message.changes) recent = [...since(KEPT_MS), { at: performance.now(), changes: message.changes }];
    heard(message);
  };
  let opened = false;
  const alive = () => (spoke = performance.now());
  const open = () => {
    alive();
    stream = new EventSource(`${address}?missed_ms=${Math.ceil(missed)}`);
    stream.addEventListener("open", () => {
      alive();
      tell({ state: "connected" });
      if (opened) tell({ changes: ["*"] }); // what was missed meanwhile
      opened = true;
    });
    stream.addEventListener("alive", alive);
    stream.addEventListener("changes", (event) => {
      alive();
      tell({ changes: JSON.parse(event.data).changes });
    });
    stream.addEventListener("error", () => tell({ state: stream.readyState === EventSource.CLOSED ? "ended" : "lost" }));
  };
  open();
  setInterval(() => {
    if (stream.readyState === EventSource.CLOSED || performance.now() - spoke < SILENT_MS) return;
    tell({ state: "lost" });
    stream.close();
    open();
  }, LOOK_MS);
  channel?.addEventListener("message", ({ data }) => {
    if (!data.ask) return;
    const changes = since(data.ask + UNDER_WAY_MS).flatMap((each) => each.changes);
    channel.postMessage(changes.length ? { state, changes } : { state });
  });
}

function heard(message) {
  if (message.state) show(message.state);
  if (message.changes) changed(message.changes);
}

if (address) {
  show("connecting");
  document.addEventListener("visibilitychange", () => !document.hidden && waiting.size && later(0));
  for (const [word, ms] of [["tick", TICK_MS], ["soon", SOON_MS]]) setInterval(() => !document.hidden && changed([word]), ms);
  if (navigator.locks && window.BroadcastChannel) {
    const channel = new BroadcastChannel(`live ${address}`);
    channel.addEventListener("message", (event) => heard(event.data));
    channel.postMessage({ ask: Math.ceil(performance.now()) });
    let first = true;
    navigator.locks.request(`live ${address}`, { ifAvailable: true }, (lock) => {
      if (!lock) {
        first = false;
        return undefined;
      }
      hold(channel, performance.now());
      return new Promise(() => {});
    });
    navigator.locks.request(`live ${address}`, () => {
      if (!first) {
        hold(channel, KEPT_MS); // what happened between the end of the other tab and now
      }
      return new Promise(() => {});
    });
  } else hold(null, performance.now());
}
