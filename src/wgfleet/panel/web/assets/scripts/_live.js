// Live updates: one stream of changes for all tabs. [data-live="node config"] with hx-trigger="live" is fetched again when
// such a thing has changed; "tick" comes every few seconds while the page is looked at.
//
// The tab that holds the lock has the stream and passes on what it hears, so that many tabs take one connection.
const EVERY_MS = 250;
const TICK_MS = 10000;
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

function hold(channel) {
  const stream = new EventSource(address);
  const tell = (message) => {
    channel?.postMessage(message);
    heard(message);
  };
  let opened = false;
  stream.addEventListener("open", () => {
    tell({ state: "connected" });
    if (opened) tell({ changes: ["*"] }); // what was missed meanwhile
    opened = true;
  });
  stream.addEventListener("changes", (event) => tell({ changes: JSON.parse(event.data).changes }));
  stream.addEventListener("error", () => tell({ state: stream.readyState === EventSource.CLOSED ? "ended" : "lost" }));
  channel?.addEventListener("message", (event) => event.data.ask && channel.postMessage({ state }));
}

function heard(message) {
  if (message.state) show(message.state);
  if (message.changes) changed(message.changes);
}

if (address) {
  show("connecting");
  document.addEventListener("visibilitychange", () => !document.hidden && waiting.size && later(0));
  setInterval(() => !document.hidden && changed(["tick"]), TICK_MS);
  if (navigator.locks && window.BroadcastChannel) {
    const channel = new BroadcastChannel(`live ${address}`);
    channel.addEventListener("message", (event) => heard(event.data));
    channel.postMessage({ ask: true });
    let first = true;
    navigator.locks.request(`live ${address}`, { ifAvailable: true }, (lock) => {
      if (!lock) {
        first = false;
        return undefined;
      }
      hold(channel);
      return new Promise(() => {});
    });
    navigator.locks.request(`live ${address}`, () => {
      if (!first) {
        hold(channel);
        changed(["*"]); // what happened between the end of the other tab and now
      }
      return new Promise(() => {});
    });
  } else hold(null);
}
