// What every page loads. Pages work without it; it brings fragments, live updates, dialogs and relative times.
import htmx from "htmx.org/dist/htmx.esm.min.js";
import "./_relative_time.js";
import "./_dialogs.js";
import "./_copying.js";
import "./_fragment.js";
import "./_file_text.js";
import "./_files.js";
import "./_announcing.js";
import "./_searching.js";
import "./_ticks.js";
import "./_live.js";
import "./_following.js";
import "./_passkeys.js";

// By itself it waits for a timer first; a link that is followed before that, by a quick hand, would leave the page.
htmx.initialize();
