// Asks the live route for what is new and keeps what has come. One poller a run and page; all
// views of a page share it, so a page costs one request a second. The byte layout is described in
// app/live_data.py.

const ASKED = 300; // milliseconds between two questions while a command has no answer yet
const BUSY = 1000; // milliseconds between two questions while a run trains
const WAITING = 2000; // while it is queued
const OVER = 15000; // when it is over: it may still be resumed
const SLOWEST_RETRY = 15000;
const TIMEOUT = 10000;
const LONG = 3000;

// Calls an async task again and again; the task returns the milliseconds to wait. Backs off when
// it fails, rests while the tab is hidden, and asks at once when the tab is shown again.
export class Loop {
  constructor(task, onConnection) {
    this.task = task;
    this.onConnection = onConnection;
    this.failures = 0;
    this.lostSince = null;
    this.timer = null;
    this.running = false;
    this.again = false;
    this.stopped = false;
    this.onVisible = () => {
      if (!document.hidden) this.soon();
    };
    document.addEventListener("visibilitychange", this.onVisible);
  }

  soon(delay = 0) {
    if (this.stopped) return;
    if (this.running) {
      this.again = true;
      return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.turn(), delay);
  }

  async turn() {
    if (this.stopped || document.hidden) return;
    this.running = true;
    this.again = false;
    const started = performance.now();
    let delay;
    try {
      delay = await this.task();
      this.failures = 0;
      if (this.lostSince !== null) {
        this.lostSince = null;
        this.report("");
      }
    } catch (error) {
      this.failures += 1;
      this.lostSince ??= Date.now();
      delay = Math.min(SLOWEST_RETRY, 1000 * 2 ** Math.min(4, this.failures - 1));
      this.report(error.sentence ?? "Connection lost; trying again.");
    }
    this.running = false;
    this.soon(this.again ? 0 : Math.max(50, delay - (performance.now() - started)));
  }

  report(sentence) {
    if (!this.stopped) this.onConnection({ sentence, since: this.lostSince });
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}

// `cache`: "default" for what never changes.
export async function get(url, cache = "no-store") {
  const response = await fetch(url, {
    cache,
    credentials: "same-origin",
    signal: AbortSignal.timeout(TIMEOUT),
  });
  if (response.ok) return response;
  const { status } = response;
  const error = Object.assign(new Error(`status ${status}`), { status });
  const type = response.headers.get("content-type") ?? "";
  if (type.startsWith("text/plain")) error.sentence = await response.text();
  throw error;
}

// Reads an answer of the live route: {head, frames: [{wall, step, epoch, series, values}]}.
export function decode(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0) !== 0x46415341 || view.getUint32(4, true) !== 1) {
    throw Object.assign(new Error("layout"), { sentence: "The server was updated: reload the page." });
  }
  const headLength = view.getUint32(8, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, headLength)));
  let at = 12 + headLength;
  const take = (type, length) => {
    const array = new type(buffer, at, length); // little-endian, as every browser's machine is
    at += array.byteLength;
    return array;
  };
  const frames = head.frames.map(({ rows, columns }) => {
    const frame = {
      wall: take(Float64Array, rows),
      step: take(Int32Array, rows),
      epoch: take(Int32Array, rows),
      series: take(Int32Array, rows),
      values: take(Float32Array, rows * columns),
    };
    at = Math.ceil(at / 8) * 8;
    return frame;
  });
  return { head, frames };
}

// The rows of one `want`. Scalars are kept by name, snapshots as rows; `latest` and `change`
// replace what was there, `epochs` what was there of that epoch.
class Store {
  constructor(want) {
    this.want = want;
    this.kind = want.slice(0, want.indexOf(":"));
    this.listeners = new Set();
    this.clear();
  }

  clear() {
    this.cursor = 0;
    this.columns = []; // names of the columns of a snapshot, where they have names
    this.tables = new Map(); // series name, or "" for snapshots -> {wall, step, epoch, values}
  }

  ask() {
    const colon = this.want.indexOf(":");
    return `${this.want.slice(0, colon)}:${this.cursor}${this.want.slice(colon)}`;
  }

  add(described, frame) {
    this.cursor = described.cursor;
    if (!described.rows) return false;
    if (this.kind !== "scalars") this.columns = described.names;
    if (this.kind === "latest" || this.kind === "change") this.tables.clear();
    for (let row = 0; row < described.rows; row += 1) {
      const name = this.kind === "scalars" ? described.names[frame.series[row]] : "";
      let table = this.tables.get(name);
      if (!table) this.tables.set(name, (table = { wall: [], step: [], epoch: [], values: [] }));
      if (this.kind === "epochs" && table.epoch.at(-1) === frame.epoch[row]) {
        for (const column of Object.values(table)) column.pop();
      }
      table.wall.push(frame.wall[row]);
      table.step.push(frame.step[row]);
      table.epoch.push(frame.epoch[row]);
      const start = row * described.columns;
      table.values.push(
        this.kind === "scalars"
          ? frame.values[row]
          : frame.values.slice(start, start + described.columns),
      );
    }
    return true;
  }
}

class Poller {
  constructor(base, run) {
    this.url = `${base}/live/runs/${run}`;
    this.stores = new Map();
    this.watchers = new Set();
    this.state = null; // the run's summary
    this.marks = []; // what happened in it, see app/events.py
    this.marksVersion = null;
    this.lag = 0; // server clock minus ours, seconds
    this.connection = { sentence: "", since: null };
    this.loop = new Loop(
      () => this.ask(),
      (connection) => {
        this.connection = connection;
        this.tell();
      },
    );
  }

  tell() {
    for (const watcher of [...this.watchers]) watcher();
  }

  async ask() {
    const asked = [...this.stores.values()];
    const query = new URLSearchParams(asked.map((store) => ["want", store.ask()]));
    if (this.state) query.set("rewinds", this.state.rewinds);
    const response = await get(`${this.url}?${query}`);
    const { head, frames } = decode(await response.arrayBuffer());
    if (this.loop.stopped) return OVER;
    if (head.reset) for (const store of this.stores.values()) store.clear();
    const fresh = new Set();
    head.frames.forEach((described, index) => {
      const store = asked[index];
      const grown = store.add(described, frames[index]);
      if (grown || head.reset) fresh.add(store);
    });
    this.state = head.run;
    this.lag = head.now - Date.now() / 1000;
    if (this.state.marks !== this.marksVersion) this.askMarks();
    this.tell();
    const told = new Set();
    for (const store of fresh) {
      for (const listener of store.listeners) told.add(listener);
    }
    for (const listener of told) listener();
    hasAnswered();
    return this.pace();
  }

  pace() {
    const { commands, liveness } = this.state;
    if (liveness === "over") return OVER;
    if (liveness === "waiting") return WAITING;
    const pending = commands.some((command) => command.answered === null);
    return pending && liveness === "alive" ? ASKED : BUSY;
  }

  // Marks are few and change seldom: fetched whole, when the run's summary says they are others.
  async askMarks() {
    if (this.askingMarks) return;
    this.askingMarks = true;
    try {
      const { version, marks } = await (await get(`${this.url}/marks`)).json();
      this.marks = marks;
      this.marksVersion = version;
      if (!this.loop.stopped) this.tell();
    } catch {
      // The next answer of the run asks again; if the server is gone, the loop says so.
    } finally {
      this.askingMarks = false;
    }
  }

  idle() {
    return this.stores.size === 0 && this.watchers.size === 0;
  }
}

let hasAnswered;
const firstAnswer = new Promise((resolve) => (hasAnswered = resolve));

// Resolves when the page has its first numbers, or was waiting for them for long.
export function answered() {
  return Promise.race([firstAnswer, new Promise((resolve) => setTimeout(resolve, LONG))]);
}

const pollers = new Map();

// Follow a run: `wants` are fetched and kept, `onRows` is called when any of them grew, `onState`
// at every answer and when the connection is lost or found. Returns {poller, table, stop}.
export function follow(base, run, { wants = [], onRows, onState }) {
  const key = `${base} ${run}`;
  let poller = pollers.get(key);
  if (!poller) pollers.set(key, (poller = new Poller(base, run)));
  const listener = () => onRows(); // own functions: a view may follow anew before it lets go
  const watcher = () => onState(poller);
  const stores = [...new Set(wants)].map((want) => {
    let store = poller.stores.get(want);
    if (!store) poller.stores.set(want, (store = new Store(want)));
    store.listeners.add(listener);
    return store;
  });
  if (onState) poller.watchers.add(watcher);
  poller.loop.soon(20); // a moment, so that all views of a page come in one request
  return {
    poller,
    // Rows of a want: {wall, step, epoch, values}, undefined while there are none.
    table: (want, series = "") => poller.stores.get(want)?.tables.get(series),
    names: (want) => [...(poller.stores.get(want)?.tables.keys() ?? [])],
    columns: (want) => poller.stores.get(want)?.columns ?? [],
    stop() {
      poller.watchers.delete(watcher);
      for (const store of stores) {
        store.listeners.delete(listener);
        if (store.listeners.size === 0) poller.stores.delete(store.want);
      }
      if (poller.idle()) {
        poller.loop.stop();
        pollers.delete(key);
      }
    },
  };
}
