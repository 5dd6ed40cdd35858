// One run of the page Feature space: its objects and snapshots, and the points of those that were
// looked at. Asks when the run's `feature` version changed, and never again for what it has.

import { Links, decodePoints } from "./feature_space_points.js";
import { isReady, resolve } from "./feature_space_moment.js";
import { follow, get } from "./poll.js";

const MOST_KEPT = 64 * 2 ** 20; // bytes of points in memory: some 40 snapshots of 50,000 points
const RETRY = 2000; // milliseconds until points that did not come are asked for again

export class FeatureRun {
  // onChange is called whenever there is more to show.
  constructor({ base, run, onChange }) {
    Object.assign(this, { base, run, onChange });
    this.overview = null; // see app/feature_routes.py
    this.sentence = "";
    this.kept = new Map(); // "SNAPSHOT METHOD SECONDS" -> points; the one used last stands last
    this.asked = new Map(); // the same -> promise
    this.shown = null; // {snapshot, method, points}
    this.following = follow(base, run, { onState: () => this.onState() });
  }

  get state() {
    return this.following.poller.state;
  }

  get snapshots() {
    return this.overview?.snapshots ?? [];
  }

  get links() {
    this.made ??= new Links(this.overview);
    return this.made;
  }

  // Seconds of the server's clock.
  now() {
    return Date.now() / 1000 + this.following.poller.lag;
  }

  address(part = "") {
    return `${this.base}/live/runs/${this.run}/features${part}`;
  }

  picture(object) {
    return this.address(`/pictures/${object}?uid=${encodeURIComponent(this.overview.uid ?? "")}`);
  }

  onState() {
    const { poller } = this.following ?? {};
    if (!poller?.state) {
      if (poller?.connection.sentence) this.say(poller.connection.sentence);
      return;
    }
    const { versions, rewinds, classes } = poller.state;
    const wanted = `${versions.feature} ${rewinds} ${classes}`;
    if (wanted !== this.wanted) {
      this.wanted = wanted;
      this.describe(wanted);
    } else {
      this.onChange(); // status, heartbeat, and how long a picture has been waited for
    }
  }

  async describe(wanted) {
    try {
      const overview = await (await get(this.address())).json();
      if (this.gone || wanted !== this.wanted) return;
      const { uid, objects } = this.overview ?? {};
      if (uid !== overview.uid || objects?.image.length !== overview.objects.image.length) this.made = null;
      this.overview = overview;
      this.say("");
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.wanted = null; // the next answer of the poll tries again
      this.say(error.sentence ?? "The snapshots could not be fetched; trying again.");
    }
  }

  say(sentence) {
    this.sentence = sentence;
    if (!this.gone) this.onChange();
  }

  // What is to be shown of `wanted` (a snapshot) by `method`. What was shown stays until its points
  // are here. `neighbours`: snapshots that may be asked for next.
  aim(wanted, method, { follows, neighbours = [] }) {
    this.target = wanted;
    this.aimed = resolve(this.snapshots, wanted, method, { follows, now: this.now() });
    const { snapshot, method: shown } = this.aimed;
    if (!snapshot) return;
    const points = this.points(snapshot, shown);
    if (points) this.shown = { snapshot, method: shown, points };
    for (const near of neighbours) if (isReady(near, shown)) this.points(near, shown);
  }

  // Points that are here, null while they are fetched.
  points({ id, methods }, method) {
    const key = `${id} ${method} ${methods[method].seconds}`; // a picture that was made anew is another one
    const kept = this.kept.get(key);
    if (kept) {
      this.kept.delete(key);
      this.kept.set(key, kept);
      return kept;
    }
    if (!this.asked.has(key)) this.asked.set(key, this.fetchPoints(id, method, key));
    return null;
  }

  async fetchPoints(id, method, key) {
    try {
      const answer = await get(this.address(`/${id}/points?method=${method}`), "default");
      const points = decodePoints(await answer.arrayBuffer());
      if (this.gone) return;
      this.kept.set(key, points);
      this.forget();
      this.say("");
    } catch (error) {
      if (error.status === 404) this.wanted = null; // thinned out meanwhile: ask what there is now
      this.say(error.sentence ?? "The points could not be fetched; trying again.");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    } finally {
      this.asked.delete(key);
    }
  }

  forget() {
    let bytes = 0;
    for (const points of this.kept.values()) bytes += points.bytes;
    for (const [key, points] of this.kept) {
      if (bytes <= MOST_KEPT || this.kept.size <= 2) return;
      bytes -= points.bytes;
      this.kept.delete(key);
    }
  }

  className(index) {
    return this.overview.classes[index]?.name ?? `class ${index}`;
  }

  destroy() {
    this.gone = true;
    this.following.stop();
  }
}
