// <relative-time datetime="..."> shows "3 minutes ago" in the language of the page; its title keeps the exact time. What
// is to come on another day has its date beside that: people plan by it.
const UNITS = [
  ["year", 31536000],
  ["month", 2592000],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
const EVERY_MS = 15000;
const DAY_S = 86400;

class RelativeTime extends HTMLElement {
  static observedAttributes = ["datetime"];

  // What is refreshed comes as the exact time again; it is put into words before anybody sees it.
  #refreshed = new MutationObserver(() => this.show());

  connectedCallback() {
    this.#refreshed.observe(this, { childList: true, characterData: true, subtree: true });
    this.show();
  }

  disconnectedCallback() {
    this.#refreshed.disconnect();
  }

  attributeChangedCallback() {
    this.show();
  }

  show() {
    const at = this.getAttribute("datetime");
    const seconds = (Date.parse(at) - Date.now()) / 1000;
    if (Number.isNaN(seconds)) return;
    const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? UNITS.at(-1);
    const language = this.closest("[lang]")?.lang || "en";
    // Digits as in the addresses and sizes beside it, in every language.
    const words = new Intl.RelativeTimeFormat(`${language}-u-nu-latn`, { numeric: "auto" }).format(Math.round(seconds / size), unit);
    const text = seconds < DAY_S ? words : `${words} (${at.slice(0, 10)})`;
    if (this.textContent !== text) this.textContent = text;
  }
}

customElements.define("relative-time", RelativeTime);
setInterval(() => {
  if (!document.hidden) document.querySelectorAll("relative-time").forEach((each) => each.show());
}, EVERY_MS);
